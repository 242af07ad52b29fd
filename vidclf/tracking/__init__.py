"""MLflow: runs, what is logged to them, and models as MLflow models. The only package that imports it."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from vidclf.home import artifacts_destination, tracking_uri
from vidclf.scratch import scratch_folder
from vidclf.snapshot import Snapshot
from vidclf.storage import Store
from vidclf.tracking.client import TrackingError, check_answers, client, ending, explained, finish
from vidclf.tracking.code import code_tags
from vidclf.tracking.pages import pages
from vidclf.tracking.training import TrainingRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vidclf.models.checkpoint import ModelCard

__all__ = [
    "TrackingError",
    "TrainingRun",
    "check_answers",
    "client",
    "ending",
    "find_finished",
    "finish",
    "flattened",
    "log_figure",
    "log_metrics",
    "log_model",
    "log_table",
    "log_tags",
    "log_text",
    "open_checkpoint_run",
    "open_run",
    "pages",
]

WORK_TAG = "vidclf.work"
MOST_PARAMS = 100  # of one request
LONGEST_PARAM = 6000  # characters


@explained()
def open_run(
    experiment: str, name: str, params: Mapping[str, Any], snapshot: Snapshot, dataset: str, store: str
) -> str:
    """The run of this name in the experiment: an old one that is not finished is gone on with.

    The parameters and the snapshot, as dataset input, are logged with it.

    Returns:
        The run's id.
    """
    mlflow_client = client()
    experiment_id = _experiment_id(mlflow_client, experiment)
    found = mlflow_client.search_runs(
        [experiment_id], f"tags.`{WORK_TAG}` = '{name}' and attributes.status != 'FINISHED'", max_results=1
    )
    if found:
        run_id = str(found[0].info.run_id)
        mlflow_client.update_run(run_id, status="RUNNING")
        return run_id
    tags = {WORK_TAG: name, "snapshot_id": snapshot.snapshot_id, "dataset": dataset, **code_tags()}
    run_id = str(mlflow_client.create_run(experiment_id, run_name=name, tags=tags).info.run_id)
    logged = [Param(key, str(value)[:LONGEST_PARAM]) for key, value in flattened(params).items()]
    for begin in range(0, len(logged), MOST_PARAMS):
        mlflow_client.log_batch(run_id, params=logged[begin : begin + MOST_PARAMS])
    stored = f"{store}/datasets/{dataset}/snapshots/{snapshot.snapshot_id}"
    used = Dataset(
        name=dataset,
        digest=snapshot.snapshot_id,
        source_type="vidclf",
        source=json.dumps({"uri": stored}),
        profile=json.dumps({key: snapshot.stats[key] for key in ("annotations", "status", "variants", "seconds")}),
    )
    mlflow_client.log_inputs(run_id, datasets=[DatasetInput(used, [InputTag("mlflow.data.context", "training")])])
    mlflow_client.log_dict(run_id, {"classes": snapshot.classes}, "classes.json")
    return run_id


@explained()
def open_checkpoint_run(experiment: str, name: str, card: ModelCard) -> str:
    """A run for a checkpoint that no tracked run made, so that its model can be logged; the run's id."""
    mlflow_client = client()
    tags = {WORK_TAG: name, "snapshot_id": card.snapshot_id, **code_tags()}
    run_id = str(
        mlflow_client.create_run(_experiment_id(mlflow_client, experiment), run_name=name, tags=tags).info.run_id
    )
    if card.results:
        log_metrics(run_id, card.results)
    return run_id


@explained()
def find_finished(experiment: str, name: str) -> str | None:
    """The id of the finished run of this name, if there is one."""
    mlflow_client = client()
    found = mlflow_client.search_runs(
        [_experiment_id(mlflow_client, experiment)],
        f"tags.`{WORK_TAG}` = '{name}' and attributes.status = 'FINISHED'",
        max_results=1,
    )
    return str(found[0].info.run_id) if found else None


@explained()
def log_metrics(run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """All at once, in one request."""
    now = int(time.time() * 1000)
    client().log_batch(run_id, metrics=[Metric(key, float(value), now, step) for key, value in metrics.items()])


@explained()
def log_tags(run_id: str, tags: Mapping[str, str]) -> None:
    client().log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])


@explained()
def log_figure(run_id: str, figure: Figure, path: str) -> None:
    client().log_figure(run_id, figure, path)


@explained()
def log_table(run_id: str, rows: Sequence[Mapping[str, Any]], path: str) -> None:
    """Rows of plain values, as a table that MLflow shows and filters."""
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    client().log_table(run_id, columns, path)


@explained()
def log_text(run_id: str, text: str, path: str) -> None:
    client().log_text(run_id, text, path)


@explained()
def log_model(run_id: str, checkpoint: Store) -> str:
    """Log a finished checkpoint as an MLflow model that takes paths of videos and answers labels; its URI."""
    client()
    with scratch_folder() as folder:
        local = folder / "checkpoint"
        local.mkdir()
        for path in ("model.json", "model.safetensors"):
            checkpoint.get_file(path, local / path)
        with mlflow.start_run(run_id=run_id), _quiet():
            from vidclf.tracking.pyfunc import VideoLabels  # MLflow looks at its type hints, and says so

            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=VideoLabels(),
                artifacts={"checkpoint": str(local)},
                pip_requirements=["vidclf"],
                input_example=None,
            )
    return str(logged.model_uri)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's advice on pickles and type hints, which would be printed through the progress display."""
    logger = logging.getLogger("mlflow.pyfunc")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.types")
            yield
    finally:
        logger.setLevel(level)


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"optim": {"epochs": 8}}`` → ``{"optim.epochs": 8}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _experiment_id(mlflow_client: mlflow.MlflowClient, name: str) -> str:
    found = mlflow_client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    artifacts = _uri_of(artifacts_destination()) if tracking_uri().startswith("sqlite") else None
    return str(mlflow_client.create_experiment(name, artifact_location=f"{artifacts}/{name}" if artifacts else None))


def _uri_of(place: str) -> str:
    return place.rstrip("/") if "://" in place else Path(place).absolute().as_uri()
