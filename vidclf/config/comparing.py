"""The configuration of the flow ``compare``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from vidclf.config.base import Frozen, Identifier, Split, parse
from vidclf.config.evaluating import JudgingConfig, ReportingConfig
from vidclf.config.training import TrainConfig
from vidclf.errors import ConfigError

URI = "uri"  # the one setting of an approach that is trained already


class CompareConfig(Frozen):
    """Everything the flow ``compare`` needs: models and trainings that share a snapshot, judged on one split."""

    store: str | None = Field(None, description="folder or s3://bucket/prefix; None: $VIDCLF_HOME/store")
    dataset: Identifier = Field(description="name of the dataset in the store")
    snapshot: str = Field("latest", description="a snapshot_id, or 'latest'")
    approaches: dict[Identifier, dict[str, Any]] = Field(
        min_length=1,
        description="name → settings of `train` (model, data, optim, …), or {uri: …} of a model that is trained:"
        " a checkpoint's folder or URI, models:/NAME@ALIAS; null leaves one of a deployment's out",
    )
    split: Split = Field("test", description="held out: no training saw it")
    num_ensemble_views: int = Field(3, ge=1, description="views per video, spread evenly over it")
    num_spatial_crops: Literal[1, 3] = Field(
        1, description="1: the centre; 3: left, centre and right along the longer side"
    )
    shuffle_control: bool = Field(False, description="score once more with each video's frames in random order")
    opposites: tuple[str, str] | None = Field(
        None,
        description="two labels that differ by the direction of time alone: told apart, or not, with shuffled frames",
    )
    judging: JudgingConfig = JudgingConfig()
    report: ReportingConfig = ReportingConfig()
    seed: int = Field(0, description="of trainings that set none, of shuffled frames and of the bootstrap")
    fast_dev_run: bool = Field(False, description="one batch of every training: does it run at all?")
    experiment: str = Field("vidclf", description="MLflow experiment")

    def trained(self) -> dict[str, str]:
        """The approaches that are models already: name → URI."""
        return {name: str(settings[URI]) for name, settings in self.approaches.items() if URI in settings}

    def trainings(self) -> dict[str, TrainConfig]:
        """The other approaches, as complete training configurations on this snapshot."""
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
            if URI not in settings
        }

    @field_validator("approaches", mode="before")
    @classmethod
    def _some_are_left_out(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: settings for name, settings in value.items() if settings is not None}

    @model_validator(mode="after")
    def _approaches_are_models_or_trainings(self) -> CompareConfig:
        for name, settings in self.approaches.items():
            if URI in settings and (len(settings) > 1 or not isinstance(settings[URI], str)):
                raise ConfigError(f"setting 'approaches.{name}' has a uri: it is trained, and takes nothing else")
        self.trainings()
        return self
