"""The configuration of the flow ``train``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vidclf.config.base import Frozen, Identifier, Split

Share = Annotated[float, Field(gt=0, le=1)]


#: What a training reads: JPEG frames in Parquet, or the clips themselves.
ReaderName = Literal["frames", "clips"]
#: How a view's frames lie in a clip's time: see ``vidclf.data.sampling``.
Sampling = Literal["random", "uniform", "consecutive"]


class DataConfig(Frozen):
    """What a model gets to see of a clip."""

    train_split: Split = Field("train", description="the split that is trained on")
    val_split: Split = Field("val", description="the split that every epoch is judged on")
    reader: ReaderName = Field(
        "frames",
        description="'frames': the JPEG frames that the ingest stored, variants included, the cheapest to read; "
        "'clips': the mp4 clips, at their own frame rate and size, without variants",
    )
    sampling: Sampling = Field(
        "random",
        description="'random': a window anywhere in the clip; 'consecutive': the same, of frames in a row; "
        "'uniform': one frame of each of num_frames equal parts of the clip",
    )
    num_frames: int | None = Field(None, ge=1, description="frames per view; None: the model's own")
    sampling_rate: int | None = Field(
        None,
        ge=1,
        description="distance of two frames of a view, in stored frames, or with reader 'clips' in the clip's own; "
        "None: the widest that fits, at most the model's own",
    )
    side_size: int | None = Field(
        None, ge=16, description="pixels of the shorter side before the crop; None: the model's own"
    )
    crop_size: int | None = Field(None, ge=16, description="pixels of the square crop; None: the model's own")
    random_crop: bool = Field(True, description="crop a training clip anywhere; False: in the middle, as in evaluation")
    short_side_jitter: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] | None = Field(
        None,
        description="[from, to] pixels that a training clip's shorter side is resized to at random; None: side_size",
    )
    random_resized_crop: tuple[Share, Share] | None = Field(
        None, description="[from, to] share of a training clip's picture that is cropped and resized; None: it is not"
    )
    horizontal_flip: float = Field(
        0.5, ge=0, le=1, description="probability of mirroring a training clip; 0 where direction is the label"
    )
    rand_augment: int = Field(0, ge=0, le=14, description="RandAugment's operations per training clip; 0: none")
    rand_augment_magnitude: int = Field(9, ge=0, le=30, description="how strong they are")
    color_jitter: float = Field(
        0.0, ge=0, le=1, description="largest relative change of a training clip's brightness, contrast and saturation"
    )
    random_erase: float = Field(
        0.0, ge=0, le=1, description="probability of covering a rectangle of a training clip with the mean colour"
    )
    mixup_alpha: float = Field(
        0.0, ge=0, description="mix pairs of clips with a share drawn from Beta(alpha, alpha); 0: do not"
    )
    cutmix_alpha: float = Field(
        0.0,
        ge=0,
        description="paste a box of one clip into another, its area drawn likewise; 0: do not; with mixup, a coin decides",
    )
    balance: Literal["none", "sampler", "loss"] = Field(
        "none",
        description="classes of unequal size: 'sampler' draws clips so that each class comes as often, "
        "'loss' weighs each clip against its class's size",
    )
    loader_workers: int | None = Field(
        None,
        ge=0,
        description="processes per worker that read and decode; 0: the worker itself; None: as its CPUs allow",
    )
    max_unreadable_share: float = Field(
        0.0, ge=0, le=1, description="share of a split's clips that may turn out unreadable before the training stops"
    )

    @model_validator(mode="after")
    def _sampling_has_its_rate(self) -> DataConfig:
        if self.sampling == "uniform" and self.sampling_rate is not None:
            raise ValueError("sampling 'uniform' spreads num_frames over the whole clip: leave sampling_rate out")
        if self.sampling == "consecutive" and self.sampling_rate not in (None, 1):
            raise ValueError(
                f"sampling 'consecutive' takes frames in a row: sampling_rate is 1, not {self.sampling_rate}"
            )
        return self

    @model_validator(mode="after")
    def _crops_make_sense(self) -> DataConfig:
        for name in ("short_side_jitter", "random_resized_crop"):
            bounds = getattr(self, name)
            if bounds is not None and bounds[0] > bounds[1]:
                raise ValueError(f"{name} is [from, to], and {bounds[0]:g} is more than {bounds[1]:g}")
            if bounds is not None and not self.random_crop:
                raise ValueError(f"{name} crops anywhere: it does not go with random_crop false")
        if self.short_side_jitter is not None and self.random_resized_crop is not None:
            raise ValueError("give either short_side_jitter or random_resized_crop: both choose how much is seen")
        return self


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
