"""The services of the local stack: how each is started, and how one knows that it works."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deployments import probes
from deployments.probes import HOST
from vidclf.home import KEEPER, QUIET_LIBRARIES, artifacts_destination

WORK_POOL = "local"
RAY_STARTED = "Ray runtime started"

#: Every process of a stack inherits this variable; what has it, and the stack's id as its value, is ended with the stack.
MARKER = "VIDCLF_STACK"


@dataclass(frozen=True)
class Ports:
    """Where the services listen, on the loopback interface."""

    prefect: int = 4200
    mlflow: int = 5000
    ray: int = 6380
    ray_metrics: int = 6381


@dataclass(frozen=True)
class Service:
    """One program of the stack."""

    name: str
    command: list[str]
    environment: dict[str, str]
    url: str
    is_healthy: Callable[[], bool]
    patience: float = 120.0  # seconds until it must be healthy


def client_environment(home: Path, ports: Ports) -> dict[str, str]:
    """What a client of the stack needs in its environment.

    Ray has no option to listen on the loopback interface alone: ``--node-ip-address 127.0.0.1`` is replaced by the
    machine's address, and the ports are open to everybody. It does keep to the loopback interface on systems without
    clusters of several machines (Windows, macOS), and the last variable says that this is one, to the head as to drivers.
    """
    return {
        "PREFECT_API_URL": f"http://{HOST}:{ports.prefect}/api",
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{ports.mlflow}",
        "RAY_ADDRESS": f"{HOST}:{ports.ray}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(home / "ray_token"),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def servers(home: Path, ports: Ports, stack_id: str) -> list[Service]:
    """Prefect, MLflow and Ray, which do not need each other."""
    client = client_environment(home, ports)
    common = service_environment(home, ports, stack_id)
    prefect_url, mlflow_url = client["PREFECT_API_URL"], client["MLFLOW_TRACKING_URI"]
    return [
        Service(
            "prefect",
            [*_module("prefect"), "server", "start", "--host", HOST, "--port", str(ports.prefect)],
            common,
            prefect_url.removesuffix("/api"),
            lambda: probes.answers(f"{prefect_url}/health"),
        ),
        Service(
            "mlflow",
            [
                *_module("mlflow", "server", "--host", HOST, "--port", str(ports.mlflow), "--workers", "1"),
                *("--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"),
                # who uses the database without this server finds artifacts where they are, not at an address of its
                *("--no-serve-artifacts", "--default-artifact-root", artifacts_destination(home)),
                *("--allowed-hosts", f"{HOST},{HOST}:{ports.mlflow},localhost,localhost:{ports.mlflow}"),
            ],
            # its job runner is for features that nobody uses here, and would be eight processes
            {**_without(common, "MLFLOW_TRACKING_URI"), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            mlflow_url,
            lambda: probes.answers(f"{mlflow_url}/health"),
        ),
        Service(
            "ray",
            [
                *_module("ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
                *("--node-ip-address", HOST, "--port", str(ports.ray)),
                *("--min-worker-port", "0", "--max-worker-port", "0"),  # any free ones
                *("--include-dashboard", "false", "--dashboard-host", HOST),
                *("--metrics-export-port", str(ports.ray_metrics)),  # for Prometheus; needs no dashboard
                *("--object-store-memory", str(512 * 1024**2)),  # paths travel between tasks, not pixels
                *("--temp-dir", str(ray_folder(home))),
            ],
            # no draining: it would wait half a minute for tasks that are to end
            {**_without(common, "RAY_ADDRESS"), "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"},
            client["RAY_ADDRESS"],
            lambda: probes.listens(ports.ray) and RAY_STARTED in log_file(home, "ray").read_text(errors="replace"),
        ),
    ]


def worker(home: Path, ports: Ports, stack_id: str, since: datetime) -> Service:
    """The Prefect worker that runs flows as processes of this machine. It makes its work pool where there is none.

    Args:
        since: an earlier heartbeat is that of an earlier worker of this name.
    """
    api = client_environment(home, ports)["PREFECT_API_URL"]
    return Service(
        "worker",
        [
            *_module("prefect", "--no-prompt", "worker", "start", "--pool", WORK_POOL, "--type", "process"),
            *("--name", WORK_POOL, "--install-policy", "never"),
        ],
        {**service_environment(home, ports, stack_id), "PREFECT_WORKER_QUERY_SECONDS": "2"},
        f"{api.removesuffix('/api')}/work-pools/work-pool/{WORK_POOL}",
        lambda: probes.worker_is_online(api, WORK_POOL, since),
    )


def keeper(home: Path, ports: Ports, stack_id: str) -> Service:
    """Starts the others, and starts anew what dies."""
    environment = service_environment(home, ports, stack_id)
    return Service(KEEPER, _module("deployments.keeper"), environment, "", lambda: True)


def deploy_command() -> list[str]:
    """Writes the deployments of ./prefect.yaml to the server."""
    return _module("prefect", "--no-prompt", "deploy", "--all")


def service_environment(home: Path, ports: Ports, stack_id: str) -> dict[str, str]:
    """The environment of every process of the stack."""
    return {
        **QUIET_LIBRARIES,
        **_without(dict(os.environ), "RAY_AUTH_TOKEN"),  # it would take precedence over our token file
        **client_environment(home, ports),
        "PREFECT_HOME": str(home / "prefect"),
        "PYTHONUNBUFFERED": "1",
        "VIDCLF_HOME": str(home),
        MARKER: stack_id,
    }


def write_ray_token(home: Path) -> None:
    """The secret that Ray's head asks of its drivers; for this user's eyes only."""
    path = home / "ray_token"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))


def ray_folder(home: Path) -> Path:
    """Ray's sockets live here, one folder per home; the names of sockets may have 107 characters only."""
    name = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"vidclf-stack-{os.getuid()}-{name}"


def log_file(home: Path, service: str) -> Path:
    """What a service prints since it was started."""
    return home / "logs" / f"{service}.log"


def _module(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _without(environment: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}
