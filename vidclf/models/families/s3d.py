"""S3D as torchvision builds it. Xie et al. 2018, "Rethinking Spatiotemporal Feature Learning", https://arxiv.org/abs/1712.04851"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidclf.models import BuildRequest, Cost, InputLimits, register
from vidclf.models.families._torchvision import accuracy, finish, kinetics, views

if TYPE_CHECKING:
    from torch import nn


@register(
    "s3d",
    family="s3d",
    summary="Inception, each convolution first in space, then in time",
    defaults=views(128, 2, mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989)),
    limits=InputLimits(min_frames=8),
    published=kinetics("s3d-d76dad2f.pth"),
    accuracy=accuracy(68.368, 88.050, "1 view of 128 frames at 15 per second"),
    cost=Cost(8_320_048, 143.83),
)
def s3d(request: BuildRequest) -> nn.Module:
    """Eight frames or more; the published pool needs 14 of 224 pixels.

    From five on it would answer, but the backward of its first convolution over time, seven long, then writes outside
    its memory on a CPU (torch 2.15 with five frames).
    """
    import torchvision

    from vidclf.models.heads import ClippedAvgPool3d

    network: Any = torchvision.models.video.s3d(weights=None, num_classes=request.num_classes, dropout=request.dropout)
    network.avgpool = ClippedAvgPool3d((2, 7, 7))
    stages = [number for number, stage in enumerate(network.features) if any(True for _ in stage.parameters())]
    plan = [(f"features{number}", [f"features.{number}"]) for number in stages]
    return finish(network, request, "classifier.1", [*plan, ("head", ["classifier"])])
