"""The connection to MLflow."""

from __future__ import annotations

import os

import mlflow
from mlflow.exceptions import MlflowException

from vidclf.errors import VidclfError
from vidclf.home import home, tracking_uri

TRACKING_URI = "MLFLOW_TRACKING_URI"


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
    named = os.environ.get(TRACKING_URI)
    mlflow.set_tracking_uri(uri)
    if named is None:  # MLflow puts it there, and it would outlive the home that it was derived from
        os.environ.pop(TRACKING_URI, None)
    try:
        return mlflow.MlflowClient(uri)
    except MlflowException as error:
        raise TrackingError(f"MLflow at {uri}: {error}") from error
