"""What a training says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Judged:
    """A model's loss and accuracy on videos: probabilities are averaged over their views."""

    loss: float
    top1: float
    videos: int


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch. Numbers are over all ranks."""

    epoch: int  # finished ones, from 1
    epochs: int
    train_loss: float
    train_top1: float  # of the views that were trained on, while they were
    val_loss: float
    val_top1: float
    val_videos: int
    learning_rate: float  # of the last step; the highest of all groups
    clips_per_second: float  # trained
    seconds: float  # training and validation
    data_share: float  # of the training's time, waiting for clips
    trained_from_block: int = 0  # the first block that learnt
    learning_rates: Mapping[str, float] = field(default_factory=dict)  # of the last step, by group
    device_wait_share: float | None = None  # of the training's time, in which a GPU had nothing to do; None: no GPU
    unreadable: int = 0  # clips so far

    def metrics(self) -> dict[str, float]:
        """The numbers, for a tracker."""
        named = {"epochs", "learning_rates", "device_wait_share"}
        numbers = {name: float(value) for name, value in vars(self).items() if name not in named}
        numbers |= {f"learning_rate/{group}": rate for group, rate in self.learning_rates.items()}
        if self.device_wait_share is not None:
            numbers["device_wait_share"] = self.device_wait_share
        return numbers
