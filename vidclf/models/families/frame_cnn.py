"""A convolutional network on single frames: the baseline that cannot see motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models import IMAGENET_MEAN, IMAGENET_STD, BuildRequest, Cost, ModelDefaults, register
from vidclf.models.families import _backbones

if TYPE_CHECKING:
    from torch import nn


@register(
    "frame_cnn",
    family="frame_cnn",
    summary="ResNet-18 on single frames, probabilities averaged: blind to motion",
    defaults=ModelDefaults(8, 8, side_size=128, crop_size=112, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    limits=_backbones.limits(_backbones.RESNET18),
    published={"imagenet": _backbones.origin(_backbones.RESNET18)},
    cost=Cost(11_381_712, 3.88),
    backbone=_backbones.RESNET18,
)
def frame_cnn(request: BuildRequest) -> nn.Module:
    """Any number of frames. In training one of them is used, drawn at random."""
    from vidclf.models.families._frames import FrameCnn
    from vidclf.models.families._on_backbone import assemble

    return assemble(
        request, lambda backbone, features: FrameCnn(backbone, features, request.num_classes, request.dropout)
    )
