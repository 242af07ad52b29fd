"""The configuration of the flow ``retrain``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from vidclf.config.base import Frozen, Identifier, parse
from vidclf.config.evaluating import JudgingConfig, ReportingConfig
from vidclf.config.ingest import IngestConfig
from vidclf.config.training import TrainConfig
from vidclf.errors import ConfigError

LATEST = "latest"
#: What the retraining says for all its steps, or what would make of a training something else than a challenger.
OWN = ("store", "dataset", "snapshot", "experiment", "fast_dev_run")


class RetrainConfig(Frozen):
    """Everything the flow ``retrain`` needs."""

    store: str | None = Field(None, description="folder or s3://bucket/prefix; None: $VIDCLF_HOME/store")
    dataset: Identifier = Field(description="name of the dataset in the store")
    model_name: Identifier = Field(description="the registered model whose aliases move")
    training: dict[str, Any] = Field(description="settings of `train` (model, data, optim, …) for the challenger")
    ingest: dict[str, Any] | None = Field(
        None, description="settings of `ingest` (annotations, sources, …), which comes first; None: there is none"
    )
    snapshot: str = Field(LATEST, description="a snapshot_id, which is trained on without an ingest; or 'latest'")
    split: Literal["val", "test"] = Field("test", description="the split that champion and challenger are judged on")
    num_ensemble_views: int = Field(3, ge=1, le=100, description="views in time, spread evenly over a video")
    num_spatial_crops: Literal[1, 3] = Field(
        1, description="1: the centre; 3: left, centre and right along the longer side"
    )
    min_new_clips: int = Field(
        1, ge=1, description="train when so many training clips are new to both champion and challenger"
    )
    min_new_share: float = Field(0.0, ge=0, description="and when they are this share of those that are known")
    max_age_days: float | None = Field(
        None, gt=0, description="train, however little is new, when the last training is older; None: never for that"
    )
    force: bool = Field(False, description="train in any case")
    margin: float = Field(
        1.0, ge=0, lt=100, description="percentage points of top-1 by which the challenger must be better"
    )
    alpha: float = Field(
        0.05, gt=0, le=0.5, description="largest p-value of the one-sided exact McNemar test that is evidence enough"
    )
    wait_hours: float = Field(
        12.0,
        ge=0,
        description="how long to wait for another retraining of the same model; 0: stop at once and say who works",
    )
    judging: JudgingConfig = JudgingConfig()
    report: ReportingConfig = ReportingConfig()
    seed: int = Field(0, description="of the bootstrap")
    experiment: str = Field("vidclf", description="MLflow experiment")

    def ingest_settings(self) -> dict[str, Any] | None:
        """What to call the flow ``ingest`` with; None: nothing is ingested."""
        if self.ingest is None or self.snapshot != LATEST:
            return None
        return {**self.ingest, "store": self.store, "dataset": self.dataset}

    def train_config(self, snapshot_id: str) -> TrainConfig:
        """The challenger's training on a snapshot."""
        shared = {
            "store": self.store,
            "dataset": self.dataset,
            "snapshot": snapshot_id,
            "experiment": self.experiment,
        }
        return parse(TrainConfig, {**self.training, **shared}, "training")

    @model_validator(mode="after")
    def _steps_are_valid(self) -> RetrainConfig:
        for group, own in (("training", OWN), ("ingest", ("store", "dataset"))):
            taken = [name for name in own if name in (getattr(self, group) or {})]
            if taken:
                raise ConfigError(f"setting '{group}.{taken[0]}' is settled by the retraining itself: leave it out")
        if self.ingest is not None:
            parse(IngestConfig, {**self.ingest, "store": self.store, "dataset": self.dataset}, "ingest")
        training = self.train_config(self.snapshot)
        if training.data.train_split == self.split:
            raise ConfigError(f"split {self.split!r} is the one that is trained on: judge on another")
        chosen = training.optim.keep == "best" or training.optim.patience is not None
        if training.data.val_split == self.split and chosen:
            raise ConfigError(
                f"optim.keep 'best' and optim.patience choose an epoch by split {self.split!r}, which the models are"
                " judged on: judge on another split, or keep the last epoch"
            )
        return self
