"""The models, by name. One file per family; each registers itself, so a new model is a new file.

Every model takes ``float (B, C, T, H, W)``, normalised, and answers logits ``(B, num_classes)``. Nothing here imports
torch before a model is built: a configuration is checked against these names in processes that never see a tensor.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
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
class BuildRequest:
    """What a builder is asked for."""

    num_classes: int
    num_frames: int
    crop_size: int
    weights: str  # "none" or one of the model's own
    dropout: float


Builder = Callable[[BuildRequest], "nn.Module"]


@dataclass(frozen=True)
class ModelSpec:
    """One row of ``vidclf models``."""

    name: str
    family: str
    summary: str
    defaults: ModelDefaults
    weights: tuple[str, ...]  # what it can start from, beside "none"
    top1: float | None  # percent on Kinetics-400, 30 views, as published with the weights
    top5: float | None
    builder: Builder = field(repr=False, compare=False)


MODELS: dict[str, ModelSpec] = {}


def register(
    name: str,
    *,
    family: str,
    summary: str,
    defaults: ModelDefaults,
    weights: tuple[str, ...] = (),
    top1: float | None = None,
    top5: float | None = None,
) -> Callable[[Builder], Builder]:
    """Decorator of a builder function: make a model known under ``name``."""

    def decorate(builder: Builder) -> Builder:
        MODELS[name] = ModelSpec(name, family, summary, defaults, weights, top1, top5, builder)
        return builder

    return decorate


def load_all() -> dict[str, ModelSpec]:
    """Import every module of this package but its ``_helpers``, and return name → model."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}")
    return MODELS


def available_models() -> list[ModelSpec]:
    """Every model, by name."""
    return [spec for _, spec in sorted(load_all().items())]


def require(name: str) -> ModelSpec:
    """The model of that name.

    Raises:
        ConfigError: there is none.
    """
    known = load_all()
    if name not in known:
        raise ConfigError(f"model {name!r} is unknown; there are: {', '.join(sorted(known))}")
    return known[name]


def build(
    name: str,
    num_classes: int,
    num_frames: int | None = None,
    crop_size: int | None = None,
    weights: str = "none",
    dropout: float = 0.2,
) -> nn.Module:
    """A new model, in training mode, on the CPU.

    Args:
        name: as ``available_models`` lists it.
        num_classes: outputs.
        num_frames: frames per view; None: the model's own.
        crop_size: pixels of the square picture; None: the model's own.
        weights: "none" for random ones (from torch's global generator), or what ``ModelSpec.weights`` names.
        dropout: probability, before the head.

    Raises:
        ConfigError: the name is unknown, the model has no such weights, or they cannot be had.
    """
    spec = require(name)
    if weights != "none" and weights not in spec.weights:
        offered = ", ".join(("none", *spec.weights))
        raise ConfigError(f"model {name!r} has no weights {weights!r}; it has: {offered}")
    return spec.builder(
        BuildRequest(
            num_classes=num_classes,
            num_frames=num_frames or spec.defaults.num_frames,
            crop_size=crop_size or spec.defaults.crop_size,
            weights=weights,
            dropout=dropout,
        )
    )


def count_parameters(model: nn.Module) -> int:
    """Numbers that training could change."""
    return sum(parameter.numel() for parameter in model.parameters())
