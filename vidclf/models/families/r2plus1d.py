"""R(2+1)D with 50 layers, as pytorchvideo builds it. Tran et al. 2018, https://arxiv.org/abs/1711.11248"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models import BuildRequest, Cost, register
from vidclf.models.families._pytorchvideo import accuracy, finish_net, import_hub, kinetics, views

if TYPE_CHECKING:
    from torch import nn


@register(
    "r2plus1d_r50",
    family="r2plus1d",
    summary="ResNet-50, each convolution first in space, then in time",
    defaults=views(16, 4),
    published=kinetics("R2PLUS1D_16x4_R50.pyth"),
    accuracy=accuracy(76.01, 92.23),
    cost=Cost(28_107_600, 57.53),
)
def r2plus1d_r50(request: BuildRequest) -> nn.Module:
    """Any number of frames; the published pool needs 16."""
    from vidclf.models.heads import ClippedAvgPool3d, set_dropout

    narrow = {"stem_dim_out": 8} if request.narrow else {}
    network = import_hub().r2plus1d_r50(model_num_class=request.num_classes, **narrow)
    set_dropout(network, request.dropout)  # the hub's builder does not take it
    return finish_net(network, request, ClippedAvgPool3d((4, 7, 7)))
