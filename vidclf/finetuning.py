"""``vidclf.finetune``: from a folder of videos to a classifier in one call, in this process, on the code of the flows."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from vidclf import memory
from vidclf.config import DataConfig, IngestConfig, TrainConfig, fingerprint, parse
from vidclf.errors import ConfigError
from vidclf.here import Told, ingest_here
from vidclf.home import default_store
from vidclf.models import require
from vidclf.predict import Classifier, load
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store, absolute_uri
from vidclf.training.checks import check
from vidclf.training.claim import claimed, is_finished
from vidclf.training.rank import Rank
from vidclf.training.reports import EpochReport
from vidclf.training.run import Tracker, run_training
from vidclf.training.work import TrainingWork, settle

USUAL_BATCH = 8
UNSPLIT = {"train": 0.8, "val": 0.2}  # of a folder without splits
USUAL_FRAMES = 32  # stored of each clip


def say(text: str) -> None:
    """Print a line to stderr, where it does not get into what a program answers."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def finetune(
    folder_or_snapshot: str | os.PathLike[str],
    model: str = "x3d_xs",
    epochs: int = 10,
    *,
    weights: str = "none",
    batch_size: int | None = None,
    learning_rate: float | None = None,
    data: Mapping[str, Any] | None = None,
    optim: Mapping[str, Any] | None = None,
    fast_dev_run: bool = False,
    device: str | torch.device | None = None,
    experiment: str | None = None,
    told: Told = say,
    **settings: Any,
) -> Classifier:
    """Fine-tune a model on videos.

    The same call on the same videos finds what is done: clips are not cut twice, a training that was cut short goes on,
    a finished one is loaded.

    Args:
        folder_or_snapshot: a folder ``split/class/video`` or ``class/video`` (then 80 : 20 of each class are train and
            val), which is ingested into ``$VIDCLF_HOME/store``; or a dataset that an ingest made, ``STORE/datasets/NAME``,
            or one snapshot of it, ``STORE/datasets/NAME/snapshots/ID``, with any fsspec URI as ``STORE``.
        model: as ``vidclf models`` lists it.
        epochs: times that the training clips are gone through.
        weights: what the model starts from: ``kinetics400`` or ``imagenet``, as it offers, a file or checkpoint, or none.
        batch_size: clips per step; None: 8, or all where there are fewer.
        learning_rate: the highest; None: the flow's own.
        data: further settings of what the model sees, as in ``vidclf.config.DataConfig``.
        optim: further settings of how it learns, as in ``vidclf.config.OptimConfig``: ``{"freeze": "backbone"}``.
        fast_dev_run: one batch of everything: does it run at all?
        device: None: the GPU where there is one.
        experiment: track the run in this MLflow experiment; None: do not.
        told: gets a line now and then; by default they are printed to stderr.
        settings: further ones of ``vidclf.config.TrainConfig``, as ``seed``, ``test_split`` or ``head_hidden``.

    Returns:
        The classifier; ``classifier.results`` are the numbers of its training.

    Raises:
        ConfigError: a name or value is wrong, or the data does not fit: said before anything is trained.
        AnnotationError: the folder is in no known layout.
        LeaseHeld: somebody else trains just this.
    """
    require(model)
    wanted: dict[str, Any] = {"model": model, "weights": weights, "fast_dev_run": fast_dev_run, **settings}
    wanted["data"] = dict(data or {})
    given = {"batch_size": batch_size, "learning_rate": learning_rate}
    wanted["optim"] = {**(optim or {}), "epochs": epochs, **{k: v for k, v in given.items() if v is not None}}
    parse(TrainConfig, {"dataset": "unknown", **wanted})  # what is wrong with it is said before videos are cut
    store, dataset, snapshot = _data(folder_or_snapshot, parse(DataConfig, wanted["data"], "data"), model, told)
    wanted |= {"store": store, "dataset": dataset, "snapshot": snapshot, "experiment": experiment or "vidclf"}
    if "batch_size" not in wanted["optim"]:
        wanted["optim"]["batch_size"] = _usual_batch(store, dataset, snapshot, wanted["data"])
    work = settle(parse(TrainConfig, wanted))
    check(work)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with memory.kept():
        _fit(work, Rank(place), told, tracked=experiment is not None)
    return load(work.model_uri, place)


def _fit(work: TrainingWork, rank: Rank, told: Told, tracked: bool) -> None:
    with claimed(work) as lease:
        if is_finished(work):
            told(f"{work.name} is finished already, nothing is done again: {work.model_uri}")
            return

        def on_epoch(report: EpochReport, numbers: dict[str, float]) -> None:
            told(
                f"epoch {report.epoch} of {report.epochs}: loss {report.train_loss:.3f}, validation loss"
                f" {report.val_loss:.3f}, accuracy {report.val_top1:.1%}, {report.clips_per_second:.1f} clips a second"
            )

        with _tracked(work) if tracked else contextlib.nullcontext() as tracker:
            run_training(work, rank, on_epoch, tracker=tracker)
        lease.check()
        told(f"checkpoint: {work.model_uri}")


@contextlib.contextmanager
def _tracked(work: TrainingWork) -> Iterator[Tracker]:
    """Log to MLflow for the length of a ``with`` block, and the model at its end."""
    from vidclf import tracking

    snapshot = read_snapshot(dataset_store(work.store, work.config.dataset), work.snapshot_id)
    params = work.config.model_dump(mode="json", exclude={"store"})
    run_id = tracking.open_run(work.config.experiment, work.name, params, snapshot, work.config.dataset, work.store)
    run = tracking.TrainingRun(run_id)
    with tracking.ending(run_id):
        with run.system_metrics():
            yield run
        tracking.log_model(run_id, Store(work.model_uri))


def _data(given: str | os.PathLike[str], data: DataConfig, model: str, told: Told) -> tuple[str, str, str]:
    """Store, dataset and snapshot of what was given; a folder of videos is ingested first."""
    uri = absolute_uri(os.fspath(given).rstrip("/"))
    named = re.fullmatch(r"(?P<store>.*)/datasets/(?P<dataset>[^/]+)(/snapshots/(?P<snapshot>[^/]+))?", uri)
    if named and Store(f"{named['store']}/datasets/{named['dataset']}").exists("dataset.json"):
        return named["store"], named["dataset"], named["snapshot"] or "latest"
    if Store(uri).exists("dataset.json"):
        raise ConfigError(f"dataset {uri} must lie in a folder 'datasets' of a store, as STORE/datasets/NAME")
    if not Path(uri).is_dir():
        raise ConfigError(f"{os.fspath(given)} is neither a folder of videos nor a dataset, STORE/datasets/NAME")
    config = _ingest_config(uri, data, model)
    run_id = f"finetune-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    snapshot = ingest_here(config, run_id, told)
    counts = ", ".join(f"{number} {status}" for status, number in snapshot.stats["status"].items())
    failures = ", ".join(f"{number} {kind}" for kind, number in snapshot.stats["errors"].items())
    told(
        f"dataset {config.dataset}, snapshot {snapshot.snapshot_id}: {counts}" + (f" ({failures})" if failures else "")
    )
    return Store(default_store()).uri, config.dataset, snapshot.snapshot_id


def _ingest_config(folder: str, data: DataConfig, model: str) -> IngestConfig:
    """How a folder becomes a dataset of its own: clips as they usually are, frames as the model wants them."""
    own = require(model).defaults
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(folder).name).strip("-._") or "videos"
    side_size = data.side_size or (own.side_size if data.crop_size is None else data.crop_size)
    has_splits = (Path(folder) / "train").is_dir()
    values = {
        "dataset": f"{name[:80]}-{fingerprint(folder, 8)}",
        "annotations": {"path": folder, **({} if has_splits else {"split_shares": UNSPLIT})},
        "sources": [{"kind": "folder", "path": folder}],
        "frames": {"num_frames": max(USUAL_FRAMES, data.num_frames or own.num_frames), "side_size": side_size},
    }
    return parse(IngestConfig, values)


def _usual_batch(store: str, dataset: str, snapshot_id: str, data: Mapping[str, Any]) -> int:
    """As many clips as are usual, or all of them."""
    snapshot = read_snapshot(dataset_store(store, dataset), snapshot_id)
    split = data.get("train_split", "train")
    return max(1, min(USUAL_BATCH, sum(counts.get(split, 0) for counts in snapshot.stats["ok_by_class"].values())))
