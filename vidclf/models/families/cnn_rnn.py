"""A network per picture, and over the pictures something that sees their order.

``cnn_lstm``: Donahue et al. 2015, "Long-term Recurrent Convolutional Networks", https://arxiv.org/abs/1411.4389
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models import IMAGENET_MEAN, IMAGENET_STD, BuildRequest, Cost, ModelDefaults, register
from vidclf.models.families import _backbones

if TYPE_CHECKING:
    from torch import nn

HIDDEN = 256


def _sequence(name: str, reader: str, summary: str, cost: Cost) -> None:
    @register(
        name,
        family="cnn_rnn",
        summary=summary,
        defaults=ModelDefaults(8, 8, side_size=128, crop_size=112, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        limits=_backbones.limits(_backbones.RESNET18),
        published={"imagenet": _backbones.origin(_backbones.RESNET18)},
        cost=cost,
        backbone=_backbones.RESNET18,
    )
    def build(request: BuildRequest) -> nn.Module:
        """Any number of frames."""
        from vidclf.models.families._frames import FrameSequence
        from vidclf.models.families._on_backbone import assemble

        return assemble(
            request,
            lambda backbone, features: FrameSequence(
                backbone,
                _reader(reader, features, request.dropout),
                reader,
                HIDDEN,
                request.num_classes,
                request.dropout,
            ),
            reader,
        )


def _reader(name: str, features: int, dropout: float) -> nn.Module:
    from torch import nn

    from vidclf.models.families._frames import FrameAttention

    if name == "attention":
        return FrameAttention(features, HIDDEN, dropout=dropout)
    layer = {"lstm": nn.LSTM, "gru": nn.GRU}[name]
    return layer(features, HIDDEN, batch_first=True)  # else it would recur across the batch


_sequence("cnn_lstm", "lstm", "ResNet-18 on each frame, an LSTM over the frames", Cost(12_067_792, 3.89))
_sequence("cnn_gru", "gru", "ResNet-18 on each frame, a GRU over the frames", Cost(11_870_672, 3.89))
_sequence(
    "cnn_attention", "attention", "ResNet-18 on each frame, a transformer over the frames", Cost(12_728_528, 3.89)
)
