"""The configuration of the flow ``train``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vidclf.config.base import Frozen, Identifier, Split

MOST_BLOCKS = 10_000  # more than any model has
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


class Unfreezing(Frozen):
    """One moment of a training at which more of the model begins to learn."""

    epoch: int = Field(ge=1, description="epochs that are trained before it")
    from_block: int = Field(
        0, ge=0, description="the first block that learns from then on, as `vidclf models` counts them"
    )
    lr_factor: float = Field(0.1, gt=0, description="times optim.learning_rate: the rate of what is new to learning")


def _freezes_something(value: Any) -> Any:
    if value in ("none", "backbone") or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError("expected none, backbone, or a number of blocks")


Freeze = Annotated[Literal["none", "backbone"] | int, BeforeValidator(_freezes_something)]


class OptimConfig(Frozen):
    """How the weights are fitted."""

    epochs: int = Field(10, ge=1, description="times that the training split is gone through")
    batch_size: int = Field(8, ge=1, description="clips per step, over all workers")
    accumulation_steps: int = Field(1, ge=1, description="batches whose gradients are added up before the weights move")

    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="what turns gradients into steps")
    learning_rate: float = Field(
        1e-3, gt=0, description="the highest of the schedule, for the head and what is not slowed"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(False, description="look ahead, with sgd and momentum")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="of adamw; one_cycle moves the first between 0.95 and 0.85, as torch's does"
    )
    weight_decay: float = Field(0.01, ge=0, description="of weights; biases and norms are not decayed")
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="learning rate of a block, as a share of that of the block behind it; 1: all the same",
    )

    schedule: Literal["one_cycle", "cosine", "step", "constant"] = Field(
        "one_cycle", description="how the learning rate moves over the training"
    )
    warmup_epochs: float | None = Field(
        None, ge=0, description="epochs in which the rate rises; None: 30 % of the training in one_cycle, else none"
    )
    warmup_factor: float = Field(0.04, gt=0, le=1, description="where warm-up begins, as a share of learning_rate")
    min_lr_factor: float = Field(0.0, ge=0, lt=1, description="where cosine ends, as a share of learning_rate")
    step_size: int = Field(10, ge=1, description="epochs between two falls of the schedule 'step'")
    gamma: float = Field(0.1, gt=0, le=1, description="what 'step' multiplies the rate with at each fall")

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target that is spread over all classes")
    grad_clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; None: no bound")
    dropout: float = Field(0.2, ge=0, lt=1, description="before the head")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of the forward pass; fp16 scales the loss, so that small gradients survive"
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="judge and keep a moving average of the weights, which forgets so slowly; None: none",
    )

    freeze: Freeze = Field(
        "none", description="what does not learn: nothing, all but the head, or the blocks before this number"
    )
    unfreeze_epoch: int | None = Field(
        None, ge=1, description="after so many epochs the frozen part learns too; None: it never does"
    )
    unfreeze_from_block: int = Field(0, ge=0, description="the first block that learns after unfreeze_epoch")
    unfreeze_lr_factor: float = Field(
        0.1, gt=0, description="times learning_rate: the rate of what learns after unfreeze_epoch"
    )
    unfreeze_schedule: tuple[Unfreezing, ...] = Field(
        (), description="several such moments, instead of unfreeze_epoch: [{epoch, from_block, lr_factor}, …]"
    )

    monitor: Literal["val_loss", "val_top1"] = Field(
        "val_top1", description="what decides which epoch is the best, ties going to the lower loss"
    )
    keep: Literal["last", "best"] = Field(
        "last", description="the epoch whose weights become the model; the other stays beside it"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better one; None: train all epochs"
    )
    min_delta: float = Field(0.0, ge=0, description="what counts as better, for patience")

    @model_validator(mode="after")
    def _fits_together(self) -> OptimConfig:
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs optimizer sgd and a momentum above 0")
        if (self.warmup_epochs or 0) >= self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs:g}, which must be less than epochs, {self.epochs}")
        moments = self.unfreezing()
        if moments and self.freeze in ("none", 0):
            raise ValueError("there is something to unfreeze only with freeze: backbone, or a number of blocks")
        if self.unfreeze_epoch is not None and self.unfreeze_schedule:
            raise ValueError("unfreeze_epoch and unfreeze_schedule are both set; at most one of them")
        bounds = [MOST_BLOCKS if self.freeze == "backbone" else int(self.freeze)] if moments else []
        for moment in moments:
            if moment.epoch >= self.epochs:
                raise ValueError(
                    f"unfreezing after epoch {moment.epoch} comes too late: there are {self.epochs} epochs"
                )
            bounds.append(moment.from_block)
        epochs = [moment.epoch for moment in moments]
        if epochs != sorted(set(epochs)) or bounds != sorted(set(bounds), reverse=True):
            raise ValueError("each moment of unfreezing is later than the one before and begins at an earlier block")
        return self

    def unfreezing(self) -> tuple[Unfreezing, ...]:
        """The moments at which more begins to learn, in order."""
        if self.unfreeze_epoch is None:
            return self.unfreeze_schedule
        return (
            Unfreezing(
                epoch=self.unfreeze_epoch, from_block=self.unfreeze_from_block, lr_factor=self.unfreeze_lr_factor
            ),
        )


class TrainConfig(Frozen):
    """Everything the flow ``train`` needs."""

    store: str | None = Field(None, description="folder or s3://bucket/prefix; None: $VIDCLF_HOME/store")
    dataset: Identifier = Field(description="name of the dataset in the store")
    snapshot: str = Field("latest", description="a snapshot_id, or 'latest'")
    model: str = Field(description="a name that `vidclf models` lists")
    weights: str = Field(
        "none",
        description="what the backbone starts from: none, imagenet, kinetics400 (as the model offers), the path or URI"
        " of a file or checkpoint, or models:/NAME@ALIAS",
    )
    head_hidden: int | None = Field(None, ge=1, description="width of a hidden layer before the last one; None: none")
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    test_split: Split | None = Field(
        None, description="judge the finished model once on this split, which no epoch was chosen by; None: do not"
    )
    seed: int = Field(0, description="of everything that is random: first weights, order, views, dropout")
    num_workers: int = Field(1, ge=1, description="Ray Train workers")
    cpus_per_worker: int | None = Field(None, ge=1, description="None: all of the smallest node, shared by the workers")
    use_gpu: bool | None = Field(None, description="None: where the cluster has one")
    checkpoint_steps: int | None = Field(
        None, ge=1, description="keep what is needed to go on after so many steps, too; None: after each epoch only"
    )
    compile: bool = Field(False, description="let torch.compile fuse the model: slow to start, faster after")
    channels_last: bool = Field(
        False,
        description="hold tensors channels last (3d): faster with bf16 and fp16 on GPUs, the same result but for rounding",
    )
    fast_dev_run: bool = Field(
        False, description="one batch of everything, under a name of its own: does it run at all?"
    )
    experiment: str = Field("vidclf", description="MLflow experiment")

    @field_validator("weights")
    @classmethod
    def _weights_are_named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("empty; 'none' starts from random weights")
        return value

    @model_validator(mode="after")
    def _model_is_known(self) -> TrainConfig:
        from vidclf.models import require

        require(self.model)
        return self
