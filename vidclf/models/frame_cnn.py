"""A convolutional network on single frames: the baseline that cannot see motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models import IMAGENET_MEAN, IMAGENET_STD, BuildRequest, ModelDefaults, register

if TYPE_CHECKING:
    from torch import nn


@register(
    "frame_cnn",
    family="frame_cnn",
    summary="ResNet-18 on single frames, probabilities averaged: blind to motion",
    defaults=ModelDefaults(
        num_frames=8, sampling_rate=8, side_size=128, crop_size=112, mean=IMAGENET_MEAN, std=IMAGENET_STD
    ),
    weights=("imagenet",),
)
def frame_cnn(request: BuildRequest) -> nn.Module:
    """Any number of frames, any crop from 32 pixels on. In training one of them is used, drawn at random."""
    from vidclf.models._resnet import FrameCnn
    from vidclf.models.blocks import declare

    return declare(
        FrameCnn(request.num_classes, request.weights, request.dropout), [("cnn", ["backbone"]), ("head", ["head"])]
    )
