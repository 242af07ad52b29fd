"""X3D. Feichtenhofer 2020, "X3D: Expanding Architectures for Efficient Video Recognition", https://arxiv.org/abs/2004.04730"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models import Accuracy, BuildRequest, Cost, ModelDefaults, register
from vidclf.models.families._pytorchvideo import HUB, accuracy, finish_net, import_hub, kinetics, views

if TYPE_CHECKING:
    from torch import nn


def _x3d(
    size: str, summary: str, defaults: ModelDefaults, published: Accuracy, cost: Cost, depth_factor: float = 2.2
) -> None:
    @register(
        f"x3d_{size}",
        family="x3d",
        summary=summary,
        defaults=defaults,
        published=kinetics(f"X3D_{size.upper()}.pyth"),
        accuracy=published,
        cost=cost,
    )
    def build(request: BuildRequest) -> nn.Module:
        """Any number of frames: the head pools over whatever it gets."""
        return _build(request, depth_factor)


def _build(request: BuildRequest, depth_factor: float) -> nn.Module:
    import_hub()
    import torch
    from pytorchvideo.models.x3d import create_x3d
    from torch import nn

    narrow = {"width_factor": 1.0, "depth_factor": 1.0, "head_dim_out": 64} if request.narrow else {}
    network = create_x3d(
        input_clip_length=request.num_frames,
        input_crop_size=request.crop_size,
        model_num_class=request.num_classes,
        dropout_rate=request.dropout,
        inner_act=nn.SiLU,  # the same function as pytorchvideo's own Swish, whose backward torch deprecates
        **{"depth_factor": depth_factor, **narrow},
    )
    network.blocks[-1].pool.pool = nn.AdaptiveAvgPool3d(1)  # its own has the size of one input
    built: nn.Module = finish_net(network, request, head_pool=None)
    return built.to(memory_format=torch.channels_last_3d)  # 1.7 times the speed on a CPU


_x3d(
    "xs",
    "3-D convolutions, expanded for efficiency; the smallest of its family",
    views(4, 12, 182, 182),
    accuracy(69.12, 88.63),
    Cost(3_794_274, 0.84),
)
_x3d(
    "s",
    "3-D convolutions, expanded for efficiency; more frames than xs",
    views(13, 6, 182, 182),
    accuracy(73.33, 91.27),
    Cost(3_794_274, 2.72),
)
_x3d(
    "m",
    "3-D convolutions, expanded for efficiency; larger pictures than s",
    views(16, 5, 256, 256),
    accuracy(75.94, 92.72),
    Cost(3_794_274, 6.18),
)
_x3d(
    "l",
    "3-D convolutions, expanded for efficiency; twice as deep as m",
    views(16, 5, 356, 312),
    accuracy(77.44, None, source=f"{HUB}/x3d.py"),
    Cost(6_153_384, 18.37),
    depth_factor=5.0,
)
