"""Video Swin Transformer as torchvision builds it. Liu et al. 2022, https://arxiv.org/abs/2106.13230"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidclf.models import IMAGENET_MEAN, IMAGENET_STD, BuildRequest, Cost, register
from vidclf.models.families._torchvision import accuracy, finish, kinetics, views

if TYPE_CHECKING:
    from torch import nn


@register(
    "swin3d_t",
    family="swin3d",
    summary="transformer in windows of space and time that shift; the tiny one",
    defaults=views(32, 2, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    published=kinetics("swin3d_t-7615ae03.pth"),
    accuracy=accuracy(77.715, 93.519, "12 views of 32 frames at 15 per second"),
    cost=Cost(28_158_070, 87.76),
)
def swin3d_t(request: BuildRequest) -> nn.Module:
    """Any number of frames: windows are filled up."""
    from torch import nn
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    width = {"embed_dim": 12, "depths": [2, 2, 2, 2]} if request.narrow else {"embed_dim": 96, "depths": [2, 2, 6, 2]}
    network: Any = SwinTransformer3d(
        patch_size=[2, 4, 4],
        num_heads=[3, 6, 12, 24],
        window_size=[8, 7, 7],
        stochastic_depth_prob=0.1,
        num_classes=request.num_classes,
        **width,
    )
    network.avgpool = nn.Sequential(network.avgpool, nn.Dropout(request.dropout))
    last = len(network.features) - 1
    plan = [
        ("embed", ["patch_embed", "pos_drop"]),
        *((f"features{number}", [f"features.{number}"]) for number in range(last)),
        (f"features{last}", [f"features.{last}", "norm"]),
        ("head", ["avgpool", "head"]),
    ]
    return finish(network, request, "head", plan)
