"""MLflow models as weights to start from: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``models:/MODEL_ID``."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from vidclf.errors import ConfigError
from vidclf.tracking.client import client

PREFIX = "models:/"


def pinned(uri: str) -> str:
    """The address of just this model, which an alias may cease to name.

    Raises:
        ConfigError: there is no such model.
    """
    client()
    try:
        return f"{PREFIX}{mlflow.models.get_model_info(uri).model_id}"
    except MlflowException as error:
        raise ConfigError(f"MLflow has no model {uri}: {str(error).splitlines()[0]}") from error


def checkpoint_folder(uri: str, into: Path) -> Path:
    """The checkpoint inside a model that ``vidclf.tracking.log_model`` logged, fetched into the folder ``into``.

    Raises:
        ConfigError: it cannot be had, or is no such model.
    """
    client()
    try:
        model = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(into)))
    except MlflowException as error:
        raise ConfigError(f"MLflow cannot give {uri}: {str(error).splitlines()[0]}") from error
    folder = model / "artifacts" / "checkpoint"
    if not (folder / "model.json").is_file():
        raise ConfigError(f"{uri} is an MLflow model, but none of vidclf: it has no checkpoint")
    return folder
