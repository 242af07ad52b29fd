"""The connection to MLflow."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import mlflow
from mlflow.exceptions import MlflowException

from vidclf.errors import VidclfError
from vidclf.home import home, silence_libraries, tracking_uri
from vidclf.reach import Unanswered, require_answer

TRACKING_URI = "MLFLOW_TRACKING_URI"

#: A server that is being restarted is waited for, a minute in all. MLflow's own patience is ten.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}

_log = logging.getLogger(__name__)
_answered: set[str] = set()  # servers that this process has reached; from then on MLflow's client waits for them


class TrackingError(VidclfError):
    """MLflow cannot be reached, or refused."""

    kind = "tracking"


def client() -> mlflow.MlflowClient:
    """A client of the tracking server, or of the database file in the home.

    Raises:
        TrackingError: it does not answer.
    """
    silence_libraries()
    for name in ("mlflow.store.db.utils", "alembic"):  # they tell how they make a database
        logging.getLogger(name).setLevel(logging.WARNING)
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    uri = tracking_uri()
    if uri.startswith("sqlite"):
        home().mkdir(parents=True, exist_ok=True)
    elif uri not in _answered:
        check_answers()
        _answered.add(uri)
    named = os.environ.get(TRACKING_URI)
    mlflow.set_tracking_uri(uri)
    if named is None:  # MLflow puts it there, and it would outlive the home that it was derived from
        os.environ.pop(TRACKING_URI, None)
    with explained():
        return mlflow.MlflowClient(uri)


def check_answers() -> None:
    """Ask the tracking server whether it is there, once and for some seconds only; a database file needs no asking.

    Raises:
        TrackingError: it does not answer.
    """
    uri = tracking_uri()
    if uri.startswith(("http://", "https://")):
        try:
            require_answer(f"{uri.rstrip('/')}/health")
        except Unanswered as error:
            raise TrackingError(
                f"MLflow at {uri} {error}: start it (`vidclf up`), or let ${TRACKING_URI} name another"
            ) from None


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """MLflow's errors inside the ``with`` block, or the function it decorates, as ours: one line, with its address."""
    try:
        yield
    except MlflowException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):  # requests' errors are such
            cause = cause.__cause__ or cause.__context__
        said = "does not answer any more" if cause is not None else str(error).splitlines()[0]
        raise TrackingError(f"MLflow at {tracking_uri()}: {said}") from error


@contextlib.contextmanager
def ending(run_id: str) -> Iterator[None]:
    """The run is finished with the ``with`` block; it failed where that raises, whose error is the one that is told."""
    try:
        yield
    except BaseException:
        try:
            finish(run_id, "FAILED")
        except TrackingError as error:
            _log.warning("run %s cannot be marked as failed: %s", run_id, error)
        raise
    finish(run_id)


@explained()
def finish(run_id: str, status: str = "FINISHED") -> None:
    client().set_terminated(run_id, status)
