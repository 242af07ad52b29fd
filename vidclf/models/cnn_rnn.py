"""A convolutional network per frame, a recurrent one over the frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models import IMAGENET_MEAN, IMAGENET_STD, BuildRequest, ModelDefaults, register

if TYPE_CHECKING:
    from torch import nn


@register(
    "cnn_lstm",
    family="cnn_rnn",
    summary="ResNet-18 on each frame, an LSTM over the frames",
    defaults=ModelDefaults(
        num_frames=8, sampling_rate=8, side_size=128, crop_size=112, mean=IMAGENET_MEAN, std=IMAGENET_STD
    ),
    weights=("imagenet",),
)
def cnn_lstm(request: BuildRequest) -> nn.Module:
    """Any number of frames, any crop from 32 pixels on."""
    from vidclf.models._resnet import CnnLstm
    from vidclf.models.blocks import declare

    return declare(
        CnnLstm(request.num_classes, request.weights, request.dropout),
        [("cnn", ["backbone"]), ("rnn", ["lstm"]), ("head", ["head"])],
    )
