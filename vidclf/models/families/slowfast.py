"""SlowFast. Feichtenhofer et al. 2019, "SlowFast Networks for Video Recognition", https://arxiv.org/abs/1812.03982"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models import Accuracy, BuildRequest, Cost, InputLimits, ModelDefaults, register
from vidclf.models.families._pytorchvideo import accuracy, finish_net, import_hub, kinetics, views

if TYPE_CHECKING:
    from torch import nn

ALPHA = 4  # the fast pathway sees so many frames for one of the slow


def _slowfast(name: str, summary: str, file: str, defaults: ModelDefaults, published: Accuracy, cost: Cost) -> None:
    @register(
        name,
        family="slowfast",
        summary=summary,
        defaults=defaults,
        limits=InputLimits(min_frames=ALPHA, frames_multiple_of=ALPHA),
        published=kinetics(file),
        accuracy=published,
        cost=cost,
    )
    def build(request: BuildRequest) -> nn.Module:
        """The view is the fast pathway; the slow one is every fourth of its frames."""
        return _build(request, name)


def _build(request: BuildRequest, name: str) -> nn.Module:
    from torch import nn

    from vidclf.models.families._pathways import SlowFast
    from vidclf.models.heads import ClippedAvgPool3d

    narrow = {"stem_dim_outs": (16, 2)} if request.narrow else {}
    network = getattr(import_hub(), name)(model_num_class=request.num_classes, dropout_rate=request.dropout, **narrow)
    network.blocks[-2].pool = nn.ModuleList(ClippedAvgPool3d((None, 7, 7)) for _ in range(2))
    return finish_net(SlowFast(network.blocks, ALPHA), request, head_pool=None)


_slowfast(
    "slowfast_r50",
    "two ResNet-50: few frames with many channels, many frames with few",
    "SLOWFAST_8x8_R50.pyth",
    views(32, 2),
    accuracy(76.94, 92.69),
    Cost(34_566_488, 50.31),
)
_slowfast(
    "slowfast_r101",
    "two ResNet-101: few frames with many channels, many frames with few",
    "SLOWFAST_8x8_R101.pyth",
    views(32, 2),
    accuracy(77.90, 93.27),
    Cost(62_826_968, 96.4),
)
_slowfast(
    "slowfast_16x8_r101_50_50",
    "SlowFast-101 on twice as many frames, fewer convolutions over time",
    "SLOWFAST_16x8_R101_50_50.pyth",
    views(64, 2),
    accuracy(78.70, 93.61),
    Cost(53_774_808, 163.09),
)
