"""The models, by name. One file per family in ``families/``; each registers itself, so a new model is a new file.

Every model takes ``float (B, C, T, H, W)``, normalised, and answers logits ``(B, num_classes)``, in training and in
evaluation. Nothing here imports torch before a model is built: a configuration is checked against these names in
processes that never see a tensor.

The families that put something on a network for pictures take any of torchvision's: ``cnn_lstm`` stands on ResNet-18,
``cnn_lstm-resnet50`` on ResNet-50.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from vidclf.errors import ConfigError
from vidclf.models.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    KINETICS_MEAN,
    KINETICS_STD,
    Accuracy,
    Builder,
    BuildRequest,
    Cost,
    InputLimits,
    ModelDefaults,
    ModelSpec,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "KINETICS_MEAN",
    "KINETICS_STD",
    "Accuracy",
    "BuildRequest",
    "Cost",
    "InputLimits",
    "ModelDefaults",
    "ModelSpec",
    "available_models",
    "build",
    "count_parameters",
    "register",
    "require",
]

MODELS: dict[str, ModelSpec] = {}


def register(
    name: str,
    *,
    family: str,
    summary: str,
    defaults: ModelDefaults,
    limits: InputLimits | None = None,
    published: Mapping[str, str] | None = None,
    accuracy: Accuracy | None = None,
    cost: Cost | None = None,
    backbone: str = "",
) -> Callable[[Builder], Builder]:
    """Decorator of a builder function: make a model known under ``name``."""

    def decorate(builder: Builder) -> Builder:
        MODELS[name] = ModelSpec(
            name=name,
            family=family,
            summary=summary,
            defaults=defaults,
            limits=limits or InputLimits(),
            published=MappingProxyType(dict(published or {})),
            accuracy=accuracy,
            cost=cost,
            builder=builder,
            backbone=backbone,
        )
        return builder

    return decorate


def load_all() -> dict[str, ModelSpec]:
    """Import every module of ``families`` but its ``_helpers``, and return name → model."""
    from vidclf.models import families

    for module in pkgutil.iter_modules(families.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{families.__name__}.{module.name}")
    return MODELS


def available_models() -> list[ModelSpec]:
    """Every model, by name."""
    return [spec for _, spec in sorted(load_all().items())]


def require(name: str) -> ModelSpec:
    """The model of that name, ``cnn_lstm`` or ``cnn_lstm-resnet50``.

    Raises:
        ConfigError: there is none.
    """
    known = load_all()
    if name in known:
        return known[name]
    base, _, backbone = name.partition("-")
    if base in known and known[base].backbone:
        return _on_backbone(known[base], backbone)
    raise ConfigError(f"model {name!r} is unknown; there are: {', '.join(sorted(known))}")


def _on_backbone(spec: ModelSpec, backbone: str) -> ModelSpec:
    from vidclf.models.families import _backbones

    own = spec.defaults
    limits = _backbones.limits(backbone)
    crop = max(own.crop_size, limits.min_crop)
    crop += -crop % limits.crop_multiple_of
    return replace(
        spec,
        name=f"{spec.name}-{backbone}",
        summary=spec.summary.replace("ResNet-18", backbone),
        defaults=replace(own, crop_size=crop, side_size=max(own.side_size, crop)),
        limits=limits,
        published=MappingProxyType({"imagenet": _backbones.origin(backbone)}),
        cost=None,
        backbone=backbone,
    )


def build(
    name: str,
    num_classes: int,
    num_frames: int | None = None,
    crop_size: int | None = None,
    weights: str = "none",
    dropout: float = 0.2,
    head_hidden: int | None = None,
    narrow: bool = False,
) -> nn.Module:
    """A new model, in training mode, on the CPU.

    Args:
        name: as ``available_models`` lists it, or with a backbone: ``cnn_lstm-resnet50``.
        num_classes: outputs.
        num_frames: frames per view; None: the model's own.
        crop_size: pixels of the square picture; None: the model's own.
        weights: "none" for random ones (from torch's global generator), a name in ``ModelSpec.weights``, or the path or
            fsspec URI of a file of the published layout or of a checkpoint's folder. Everything but the head comes
            from there, exactly; the head is new.
        dropout: probability, before the head.
        head_hidden: units of a layer between the backbone and the output; None: no such layer.
        narrow: few channels, for tests.

    Raises:
        ConfigError: the name is unknown, the model does not take such an input, it has no such weights, or they cannot
            be had.
    """
    spec = require(name)
    spec.check_input(num_frames, crop_size)
    return spec.builder(
        BuildRequest(
            num_classes=num_classes,
            num_frames=num_frames or spec.defaults.num_frames,
            crop_size=crop_size or spec.defaults.crop_size,
            dropout=dropout,
            head_hidden=head_hidden,
            origin=spec.origin(weights),
            backbone=spec.backbone,
            narrow=narrow,
        )
    )


def count_parameters(model: nn.Module) -> int:
    """Numbers that training could change."""
    return sum(parameter.numel() for parameter in model.parameters())
