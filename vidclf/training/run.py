"""One training from its work to its checkpoint: the same in a Ray worker and in the caller's own process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from vidclf.config import TrainConfig
from vidclf.data.view import View
from vidclf.evaluation.scoring import Progress, ignore_progress
from vidclf.models import build, checkpoint
from vidclf.scratch import scratch_folder
from vidclf.storage import Store
from vidclf.training.feed import Loading
from vidclf.training.keeper import Keeper
from vidclf.training.loop import Trained, Watch, train
from vidclf.training.randomness import seed_everything
from vidclf.training.rank import ALONE, Rank
from vidclf.training.reports import EpochReport
from vidclf.training.work import TrainingWork, open_split, open_training_data

MOST_LOADERS = 16  # processes that decode for one GPU

OnEpoch = Callable[
    [EpochReport, dict[str, float]], None
]  # the report, and its numbers with those of the whole training


class Tracker(Protocol):
    """Who writes down what a training says: ``vidclf.tracking.TrainingRun``."""

    def log_epoch(self, numbers: Mapping[str, float], epoch: int) -> None:
        """Numbers of a finished epoch."""

    def log_seen(self, pictures: np.ndarray, labels: Sequence[str]) -> None:
        """The first batch as it enters the model, uint8 (B, C, T, H, W)."""

    def log_unreadable(self, reasons: Mapping[str, str]) -> None:
        """clip_id → reason, of all clips so far that could not be read."""


def ignore_epoch(report: EpochReport, numbers: dict[str, float]) -> None:
    """Epochs that nobody counts."""


def run_training(
    work: TrainingWork,
    rank: Rank = ALONE,
    on_epoch: OnEpoch = ignore_epoch,
    on_step: Progress = ignore_progress,
    tracker: Tracker | None = None,
) -> dict[str, float]:
    """Train, from the last state where there is one, until the checkpoint ``work.model_path`` is there.

    Args:
        on_epoch, on_step: called on every rank.
        tracker: used on the first rank.

    Returns:
        The numbers of the published model.

    Raises:
        ConfigError: the settings do not fit the data or the model.
        VidclfError: the loss is not a number any more, or too many clips cannot be read.
    """
    if checkpoint.exists(
        Store(work.store), work.model_path
    ):  # this process takes the place of one that died at the end
        return checkpoint.read_card(work.model_uri).results
    keeper = Keeper(work)
    train_data, val_data = open_training_data(work)
    state = keeper.states.latest()
    with _weights(work.config.weights if state is None else "none") as weights:  # later they are in the state
        module = initial_model(work.config, len(work.classes), work.view, weights).to(rank.device)
    seconds = sum(epoch["seconds"] for epoch in state["history"]) if state is not None else 0.0
    told = _Told(work, tracker if rank.is_first else None, on_epoch, seconds)
    watch = Watch(
        on_seen=told.seen,
        on_step=on_step,
        on_state=keeper.states.save,
        on_best=keeper.keep_best,
        on_unreadable=told.unreadable,
        on_epoch=told.epoch,
    )
    trained = train(module, train_data, val_data, work.config, watch, state, rank, loading_of(work, rank))
    results = _finish(work, keeper, trained, rank)
    rank.wait()
    return results


def initial_model(config: TrainConfig, num_classes: int, view: View, weights: str | None = None) -> nn.Module:
    """The model that a training starts from: the same for the same configuration.

    Args:
        weights: instead of ``config.weights``.

    Raises:
        ConfigError: the model has no such weights, or they cannot be had.
    """
    seed_everything(config.seed)
    return build(
        config.model,
        num_classes,
        view.num_frames,
        view.crop_size,
        weights or config.weights,
        config.optim.dropout,
        head_hidden=config.head_hidden,
    )


def loading_of(work: TrainingWork, rank: Rank) -> Loading:
    """Who decodes. For a GPU all cores but one; on a CPU nobody else, since the training itself wants the cores."""
    workers = work.config.data.loader_workers
    if workers is None:
        workers = min(MOST_LOADERS, max(1, rank.cpus - 1)) if rank.device.type == "cuda" else 0
    return Loading(workers, None if Store(work.store).is_local else "spawn")


@contextlib.contextmanager
def _weights(name: str) -> Iterator[str]:
    """``name``, or the folder of a checkpoint that MLflow has under it, for the length of a ``with`` block."""
    if not name.startswith("models:/"):
        yield name
        return
    from vidclf.tracking.models import checkpoint_folder

    with scratch_folder() as folder:
        yield str(checkpoint_folder(name, folder))


class _Told:
    """Passes on what the loop says."""

    def __init__(self, work: TrainingWork, tracker: Tracker | None, on_epoch: OnEpoch, seconds: float):
        self._work, self._tracker, self._on_epoch, self._seconds = work, tracker, on_epoch, seconds

    def epoch(self, report: EpochReport) -> None:
        self._seconds += report.seconds
        numbers = {**report.metrics(), "train_seconds": self._seconds}
        if self._tracker is not None:
            self._tracker.log_epoch(numbers, report.epoch)
        self._on_epoch(report, numbers)

    def seen(self, pictures: Tensor, label_ids: Tensor) -> None:
        if self._tracker is not None:
            labels = [self._work.classes[label_id] for label_id in label_ids.tolist()]
            self._tracker.log_seen(pictures.cpu().numpy(), labels)

    def unreadable(self, reasons: dict[str, str]) -> None:
        if self._tracker is not None:
            self._tracker.log_unreadable(reasons)


def _finish(work: TrainingWork, keeper: Keeper, trained: Trained, rank: Rank) -> dict[str, float]:
    """Choose the epoch, test it where that is asked for, and publish it."""
    last = trained.history[-1].metrics()
    results = {**last, "train_seconds": sum(report.seconds for report in trained.history)}
    best: nn.Module | None = None
    if work.config.optim.keep == "best":
        best, of_best = keeper.read_best()
        best.to(rank.device)
        results |= of_best
    results["best_epoch"] = float(trained.best_epoch)
    results |= _tested(work, trained, best if best is not None else trained.module)
    if rank.is_first:
        keeper.publish(trained.module, last, results, best)
        keeper.forget()
    return results


def _tested(work: TrainingWork, trained: Trained, module: nn.Module) -> dict[str, float]:
    split = work.config.test_split
    if split is None:
        return {}
    data = open_split(work.store, work.config.dataset, work.snapshot_id, work.classes, split, work.view, 1)
    judged = trained.judge(module, data)
    return {"test_loss": judged.loss, "test_top1": judged.top1, "test_videos": float(judged.videos)}
