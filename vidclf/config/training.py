"""The configuration of the flow ``train``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vidclf.config.base import Frozen, Identifier, Split


class DataConfig(Frozen):
    """What a model gets to see of a clip."""

    num_frames: int | None = Field(None, ge=1, description="frames per view; None: the model's own")
    sampling_rate: int | None = Field(
        None,
        ge=1,
        description="distance of two frames of a view, in stored frames; None: the widest that fits, at most the model's own",
    )
    side_size: int | None = Field(
        None, ge=16, description="pixels of the shorter side before the crop; None: the model's own"
    )
    crop_size: int | None = Field(None, ge=16, description="pixels of the square crop; None: the model's own")
    horizontal_flip: float = Field(
        0.5, ge=0, le=1, description="probability of mirroring a training clip; 0 where direction is the label"
    )
    train_split: Split = "train"
    val_split: Split = "val"


class OptimConfig(Frozen):
    """How the weights are fitted."""

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(8, ge=1, description="clips per step, over all workers")
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the one-cycle schedule")
    weight_decay: float = Field(0.01, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    grad_clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; None: no bound")
    dropout: float = Field(0.2, ge=0, lt=1, description="before the head")


class TrainConfig(Frozen):
    """Everything the flow ``train`` needs."""

    store: str | None = Field(None, description="folder or s3://bucket/prefix; None: $VIDCLF_HOME/store")
    dataset: Identifier
    snapshot: str = Field("latest", description="a snapshot_id, or 'latest'")
    model: str = Field(description="a name that `vidclf models` lists")
    weights: Literal["none", "imagenet", "kinetics400"] = Field("none", description="what the backbone starts from")
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    seed: int = 0
    num_workers: int = Field(1, ge=1, description="Ray Train workers")
    cpus_per_worker: int | None = Field(None, ge=1, description="None: all of the smallest node, shared by the workers")
    use_gpu: bool | None = Field(None, description="None: where the cluster has one")
    fast_dev_run: bool = Field(
        False, description="one batch of everything, under a name of its own: does it run at all?"
    )
    experiment: str = Field("vidclf", description="MLflow experiment")

    @model_validator(mode="after")
    def _model_is_known(self) -> TrainConfig:
        from vidclf.models import require

        require(self.model)
        return self
