"""R3D, MC3 and R(2+1)D with 18 layers, as torchvision builds them. Tran et al. 2018, https://arxiv.org/abs/1711.11248"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidclf.models import Accuracy, BuildRequest, Cost, register
from vidclf.models.families._torchvision import accuracy, finish, kinetics, views

if TYPE_CHECKING:
    from torch import nn

MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
PROTOCOL = "5 views of 16 frames at 15 per second"


def _video_resnet(name: str, summary: str, file: str, published: Accuracy, cost: Cost) -> None:
    @register(
        name,
        family="video_resnet",
        summary=summary,
        defaults=views(16, 2, 128, 112, MEAN, STD),
        published=kinetics(file),
        accuracy=published,
        cost=cost,
    )
    def build(request: BuildRequest) -> nn.Module:
        """Any number of frames."""
        import torchvision
        from torch import nn

        network: Any = getattr(torchvision.models.video, name)(weights=None, num_classes=request.num_classes)
        if request.narrow:
            for stage in STAGES[1:]:
                setattr(network, stage, nn.Sequential(getattr(network, stage)[0]))
        network.avgpool = nn.Sequential(network.avgpool, nn.Dropout(request.dropout))
        return finish(network, request, "fc", [*((stage, [stage]) for stage in STAGES), ("head", ["avgpool", "fc"])])


_video_resnet(
    "r3d_18",
    "ResNet-18 with 3-D convolutions",
    "r3d_18-b3b3357e.pth",
    accuracy(63.200, 83.479, PROTOCOL),
    Cost(33_371_472, 40.7),
)
_video_resnet(
    "mc3_18",
    "ResNet-18, 3-D convolutions in its first stage only",
    "mc3_18-a90a0ba3.pth",
    accuracy(63.960, 84.130, PROTOCOL),
    Cost(11_695_440, 43.34),
)
_video_resnet(
    "r2plus1d_18",
    "ResNet-18, each convolution first in space, then in time",
    "r2plus1d_18-91a641e6.pth",
    accuracy(67.463, 86.175, PROTOCOL),
    Cost(31_505_325, 40.52),
)
