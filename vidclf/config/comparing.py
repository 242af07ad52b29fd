"""The configuration of the flow ``compare``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from vidclf.config.base import Frozen, Identifier, Split, parse
from vidclf.config.training import TrainConfig


class CompareConfig(Frozen):
    """Everything the flow ``compare`` needs: trainings that share a snapshot, judged on one split."""

    store: str | None = None
    dataset: Identifier
    snapshot: str = "latest"
    approaches: dict[Identifier, dict[str, Any]] = Field(
        min_length=1, description="name → settings of `train`: model, data, optim, …"
    )
    split: Split = Field("test", description="held out: no training saw it")
    num_ensemble_views: int = Field(3, ge=1, description="views per video, spread evenly over it")
    shuffle_control: bool = Field(False, description="score once more with each video's frames in random order")
    opposites: tuple[str, str] | None = Field(
        None,
        description="two labels that differ by the direction of time alone: told apart, or not, with shuffled frames",
    )
    seed: int = 0
    fast_dev_run: bool = False
    experiment: str = "vidclf"

    def trainings(self) -> dict[str, TrainConfig]:
        """The approaches as complete training configurations, on this snapshot."""
        shared = {
            "store": self.store,
            "dataset": self.dataset,
            "snapshot": self.snapshot,
            "fast_dev_run": self.fast_dev_run,
            "experiment": self.experiment,
        }
        return {
            name: parse(TrainConfig, {"seed": self.seed, **settings, **shared}, f"approaches.{name}")
            for name, settings in self.approaches.items()
        }

    @model_validator(mode="after")
    def _approaches_are_trainings(self) -> CompareConfig:
        self.trainings()
        return self
