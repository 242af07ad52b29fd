"""What is known of a model before it is built: plain data, checked without importing torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vidclf.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

#: What torchvision's ImageNet weights were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
#: What pytorchvideo's Kinetics weights were trained with.
KINETICS_MEAN = (0.45, 0.45, 0.45)
KINETICS_STD = (0.225, 0.225, 0.225)


@dataclass(frozen=True)
class ModelDefaults:
    """What a model is fed unless the configuration says otherwise."""

    num_frames: int
    sampling_rate: int  # distance of two frames of a view, at most
    side_size: int  # pixels of the shorter side before the crop
    crop_size: int  # pixels of the square crop
    mean: tuple[float, float, float]  # of R, G, B in 0..1
    std: tuple[float, float, float]


@dataclass(frozen=True)
class InputLimits:
    """What a model can take at all."""

    min_frames: int = 1
    frames_multiple_of: int = 1
    min_crop: int = 32
    crop_multiple_of: int = 1

    def problem(self, num_frames: int, crop_size: int) -> str | None:
        """What is wrong with such an input, or None."""
        if num_frames < self.min_frames:
            return f"num_frames of at least {self.min_frames}, got {num_frames}"
        if num_frames % self.frames_multiple_of:
            return f"num_frames that is a multiple of {self.frames_multiple_of}, got {num_frames}"
        if crop_size < self.min_crop:
            return f"crop_size of at least {self.min_crop}, got {crop_size}"
        if crop_size % self.crop_multiple_of:
            return f"crop_size that is a multiple of {self.crop_multiple_of}, got {crop_size}"
        return None


@dataclass(frozen=True)
class Accuracy:
    """An accuracy that was published with weights, and how it was measured."""

    top1: float  # percent
    top5: float | None
    dataset: str
    protocol: str
    source: str  # address of the page or file that says so


@dataclass(frozen=True)
class Cost:
    """How large a model is, and what one view of its own input takes."""

    parameters: int  # with as many outputs as its published weights have; 400 where there are none
    gflops: float  # 1e9 multiply-adds, which is what the field's tables count as FLOPs


@dataclass(frozen=True)
class BuildRequest:
    """What a builder is asked for."""

    num_classes: int
    num_frames: int
    crop_size: int
    dropout: float  # probability, before the head
    head_hidden: int | None = None  # units of a layer between backbone and output
    origin: str | None = None  # address of the weights to start from
    backbone: str = ""  # of the families that put something on a network for pictures
    narrow: bool = False  # the same architecture with few channels, for tests


Builder = Callable[[BuildRequest], "nn.Module"]


@dataclass(frozen=True)
class ModelSpec:
    """One row of ``vidclf models``."""

    name: str
    family: str
    summary: str
    defaults: ModelDefaults
    limits: InputLimits
    published: Mapping[str, str]  # weights → address
    accuracy: Accuracy | None
    cost: Cost | None  # None: see vidclf.models.cost.measure
    builder: Builder = field(repr=False, compare=False)
    backbone: str = ""

    @property
    def weights(self) -> tuple[str, ...]:
        """What it can start from, beside "none" and files of one's own."""
        return tuple(self.published)

    def check_input(self, num_frames: int | None = None, crop_size: int | None = None) -> None:
        """Whether the model takes such views; None: its own.

        Raises:
            ConfigError: it does not.
        """
        found = self.limits.problem(num_frames or self.defaults.num_frames, crop_size or self.defaults.crop_size)
        if found:
            raise ConfigError(f"model {self.name!r} needs a {found}")

    def origin(self, weights: str) -> str | None:
        """The address behind the name of weights; a path or URI is its own; None for "none".

        Raises:
            ConfigError: it is neither a name that this model has nor looks like an address.
        """
        if weights == "none":
            return None
        if weights in self.published:
            return self.published[weights]
        if "/" in weights or weights.endswith((".pyth", ".pth", ".pt", ".safetensors")):
            return weights
        offered = ", ".join(("none", *self.published))
        raise ConfigError(
            f"model {self.name!r} has no weights {weights!r}; it has: {offered}, or the path or URI of a file"
        )
