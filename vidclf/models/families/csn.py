"""Channel-separated networks. Tran et al. 2019, https://arxiv.org/abs/1904.02811"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models import BuildRequest, Cost, register
from vidclf.models.families._pytorchvideo import accuracy, finish_net, import_hub, kinetics, views

if TYPE_CHECKING:
    from torch import nn


@register(
    "csn_r101",
    family="csn",
    summary="ResNet-101, each convolution over time in one channel",
    defaults=views(32, 2),
    published=kinetics("CSN_32x2_R101.pyth"),
    accuracy=accuracy(77.00, 92.90),
    cost=Cost(22_213_776, 56.47),
)
def csn_r101(request: BuildRequest) -> nn.Module:
    """Any number of frames; the published pool needs 32."""
    from vidclf.models.heads import ClippedAvgPool3d

    narrow = {"stem_dim_out": 8} if request.narrow else {}
    network = import_hub().csn_r101(model_num_class=request.num_classes, dropout_rate=request.dropout, **narrow)
    return finish_net(network, request, ClippedAvgPool3d((4, 7, 7)))
