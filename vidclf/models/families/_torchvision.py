"""What torchvision's video models share. https://pytorch.org/vision/stable/models.html#video-classification"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidclf.models.spec import KINETICS_MEAN, KINETICS_STD, Accuracy, ModelDefaults

if TYPE_CHECKING:
    from torch import nn

    from vidclf.models.blocks import Plan
    from vidclf.models.spec import BuildRequest

DOCS = "https://pytorch.org/vision/stable/models.html#video-classification"


def kinetics(file: str) -> dict[str, str]:
    """Where weights trained on Kinetics-400 are published."""
    return {"kinetics400": f"https://download.pytorch.org/models/{file}"}


def accuracy(top1: float, top5: float, protocol: str) -> Accuracy:
    """What they were published with."""
    return Accuracy(top1, top5, "Kinetics-400", protocol, DOCS)


def views(
    num_frames: int,
    sampling_rate: int,
    side_size: int = 256,
    crop_size: int = 224,
    mean: tuple[float, float, float] = KINETICS_MEAN,
    std: tuple[float, float, float] = KINETICS_STD,
) -> ModelDefaults:
    """Views of torchvision's weights. It counts in frames per second: 15 are every second frame of ordinary video."""
    return ModelDefaults(num_frames, sampling_rate, side_size, crop_size, mean, std)


def finish(network: nn.Module, request: BuildRequest, output: str, plan: Plan) -> nn.Module:
    """Weights, hidden layer and blocks.

    Args:
        network: torchvision's.
        request: what was asked for.
        output: path of its output layer.
        plan: its blocks.
    """
    from vidclf.models.blocks import declare
    from vidclf.models.heads import extend_head
    from vidclf.models.weights import load_backbone

    load_backbone(network, request.origin, output)
    extend_head(network, output, request.head_hidden, request.dropout)
    return declare(network, plan)
