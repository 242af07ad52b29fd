"""One training from its work to its checkpoint: the same in a Ray worker and in the caller's own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor, nn

from vidclf.config import TrainConfig
from vidclf.data.view import View
from vidclf.evaluation.scoring import Progress, ignore_progress
from vidclf.models import build
from vidclf.training.keeper import Keeper
from vidclf.training.loop import Trained, Watch, train
from vidclf.training.randomness import seed_everything
from vidclf.training.rank import ALONE, Rank
from vidclf.training.reports import EpochReport
from vidclf.training.work import TrainingWork, open_split, open_training_data

OnEpoch = Callable[
    [EpochReport, dict[str, float]], None
]  # the report, and its numbers with those of the whole training
OnSeen = Callable[[np.ndarray, Sequence[str]], None]  # pictures uint8 (B, C, T, H, W), their labels


def ignore_seen(pictures: np.ndarray, labels: Sequence[str]) -> None:
    """Pictures that nobody looks at."""


def ignore_epoch(report: EpochReport, numbers: dict[str, float]) -> None:
    """Epochs that nobody counts."""


def run_training(
    work: TrainingWork,
    rank: Rank = ALONE,
    on_epoch: OnEpoch = ignore_epoch,
    on_step: Progress = ignore_progress,
    on_seen: OnSeen = ignore_seen,
) -> dict[str, float]:
    """Train, from the last state where there is one, until the checkpoint ``work.model_path`` is there.

    Args:
        on_epoch, on_step: called on every rank.
        on_seen: called once, on the first rank, when a training begins.

    Returns:
        The numbers of the published model.

    Raises:
        ConfigError: the settings do not fit the data or the model.
        VidclfError: the loss is not a number any more.
    """
    keeper = Keeper(work)
    train_data, val_data = open_training_data(work)
    state = keeper.states.latest()
    weights = work.config.weights if state is None else "none"  # they are in the state
    module = initial_model(work.config, len(work.classes), work.view, weights).to(rank.device)
    seconds = sum(epoch["seconds"] for epoch in state["history"]) if state is not None else 0.0

    def told(report: EpochReport) -> None:
        nonlocal seconds
        seconds += report.seconds
        on_epoch(report, {**report.metrics(), "train_seconds": seconds})

    def seen(pictures: Tensor, label_ids: Tensor) -> None:
        on_seen(pictures.cpu().numpy(), [work.classes[label_id] for label_id in label_ids.tolist()])

    watch = Watch(seen, on_step, keeper.states.save, keeper.keep_best, told)
    trained = train(module, train_data, val_data, work.config, watch, state, rank)
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
    dropout = config.optim.dropout
    return build(config.model, num_classes, view.num_frames, view.crop_size, weights or config.weights, dropout)


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
    return results


def _tested(work: TrainingWork, trained: Trained, module: nn.Module) -> dict[str, float]:
    split = work.config.test_split
    if split is None:
        return {}
    data = open_split(work.store, work.config.dataset, work.snapshot_id, work.classes, split, work.view, 1)
    judged = trained.judge(module, data)
    return {"test_loss": judged.loss, "test_top1": judged.top1, "test_videos": float(judged.videos)}
