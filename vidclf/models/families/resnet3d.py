"""ResNet-50 over time: Slow, I3D and C2D as pytorchvideo builds them.

Slow: Feichtenhofer et al. 2019, https://arxiv.org/abs/1812.03982. I3D and C2D: Wang et al. 2018, "Non-local Neural
Networks", https://arxiv.org/abs/1711.07971; the I3D of Carreira and Zisserman 2017 is an Inception network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models import Accuracy, BuildRequest, Cost, InputLimits, register
from vidclf.models.families._pytorchvideo import accuracy, finish_net, import_hub, kinetics, views

if TYPE_CHECKING:
    from torch import nn


def _resnet(
    name: str,
    summary: str,
    file: str,
    pool: tuple[int, int, int],
    published: Accuracy,
    cost: Cost,
    min_frames: int = 1,
) -> None:
    @register(
        name,
        family="resnet3d",
        summary=summary,
        defaults=views(8, 8),
        limits=InputLimits(min_frames=min_frames),
        published=kinetics(file),
        accuracy=published,
        cost=cost,
    )
    def build(request: BuildRequest) -> nn.Module:
        """``pool``: (T, H, W) of the pool that the network was published with."""
        from vidclf.models.heads import ClippedAvgPool3d

        narrow = {"stem_dim_out": 8} if request.narrow else {}
        network = getattr(import_hub(), name)(
            model_num_class=request.num_classes, dropout_rate=request.dropout, **narrow
        )
        return finish_net(network, request, ClippedAvgPool3d(pool))


_resnet(
    "slow_r50",
    "ResNet-50, convolutions over time in its last stages: SlowFast's slow half",
    "SLOW_8x8_R50.pyth",
    (8, 7, 7),
    accuracy(74.58, 91.63),
    Cost(32_454_096, 41.74),
)
_resnet(
    "i3d_r50",
    "ResNet-50, every second block convolves over time",
    "I3D_8x8_R50.pyth",
    (4, 7, 7),
    accuracy(73.27, 90.70),
    Cost(28_043_472, 28.41),
    min_frames=2,  # block 2 pools pairs of frames
)
_resnet(
    "c2d_r50",
    "ResNet-50 on pictures; only pools see time",
    "C2D_8x8_R50.pyth",
    (4, 7, 7),
    accuracy(71.46, 89.68),
    Cost(24_327_632, 19.49),
    min_frames=2,
)
