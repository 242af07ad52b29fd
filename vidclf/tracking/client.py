"""The connection to MLflow."""

from __future__ import annotations

import os

import mlflow
from mlflow.exceptions import MlflowException

from vidclf.errors import VidclfError
from vidclf.home import home, tracking_uri


class TrackingError(VidclfError):
    """MLflow cannot be reached, or refused."""

    kind = "tracking"


def client() -> mlflow.MlflowClient:
    """A client of the tracking server, or of the database file in the home.

    Raises:
        TrackingError: it does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = tracking_uri()
    if uri.startswith("sqlite"):
        home().mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(uri)
    try:
        return mlflow.MlflowClient(uri)
    except MlflowException as error:
        raise TrackingError(f"MLflow at {uri}: {error}") from error
