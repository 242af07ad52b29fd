"""Where local things live: ``$VIDCLF_HOME``, by default ``.vidclf`` in the working folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vidclf.processes import start_ticks

#: Nothing that runs here reports to anybody (usage statistics and update checks of the libraries, switched off), and no
#: progress bar but ours is shown.
QUIET_LIBRARIES = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "DO_NOT_TRACK": "1",
}

#: The process of the local stack that watches over the others; see ``deployments.keeper``.
KEEPER = "keeper"


def home() -> Path:
    """``$VIDCLF_HOME`` as an absolute path; not created here."""
    return Path(os.environ.get("VIDCLF_HOME", ".vidclf")).absolute()


def default_store() -> str:
    """The store used where none is named: ``$VIDCLF_STORE``, or a folder in the home."""
    return os.environ.get("VIDCLF_STORE") or str(home() / "store")


def tracking_uri() -> str:
    """MLflow's address: ``$MLFLOW_TRACKING_URI``, or a database file in the home."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def artifacts_destination(folder: Path | None = None) -> str:
    """Where MLflow keeps artifacts and models: ``$MLFLOW_ARTIFACTS_DESTINATION`` (a bucket, say), or a folder of the home."""
    return os.environ.get("MLFLOW_ARTIFACTS_DESTINATION") or str((folder or home()) / "mlartifacts")


def silence_libraries() -> None:
    """Put ``QUIET_LIBRARIES`` into the environment, unless the user decided otherwise there."""
    for name, value in QUIET_LIBRARIES.items():
        os.environ.setdefault(name, value)


def stack_file() -> Path:
    """Where the local stack says which services it runs."""
    return home() / "stack.json"


def running_stack() -> dict[str, str]:
    """The environment of the local stack (``PREFECT_API_URL``, ``MLFLOW_TRACKING_URI``, ``RAY_ADDRESS``, …).

    Empty if none runs, or while it is still being started. It runs as long as its keeper, which starts anew what dies.
    """
    try:
        stack = json.loads(stack_file().read_text())
        (keeper,) = (service for service in stack["services"] if service["name"] == KEEPER)
        if start_ticks(int(keeper["pid"])) != keeper["started"]:
            return {}
        return {str(name): str(value) for name, value in stack["environment"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
