"""What pytorchvideo's networks share. Fan et al. 2021, https://arxiv.org/abs/2111.09887

Of pytorchvideo only the models are used: its transforms do not import with torchvision of today.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from vidclf.models.spec import KINETICS_MEAN, KINETICS_STD, Accuracy, ModelDefaults

if TYPE_CHECKING:
    from torch import nn

    from vidclf.models.blocks import Plan
    from vidclf.models.spec import BuildRequest

ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo"
TABLE = "https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md"
HUB = "https://github.com/facebookresearch/pytorchvideo/tree/main/pytorchvideo/models/hub"


def views(num_frames: int, sampling_rate: int, side_size: int = 256, crop_size: int = 224) -> ModelDefaults:
    """Views of pytorchvideo's Kinetics weights; the crop is the one they were trained with."""
    return ModelDefaults(num_frames, sampling_rate, side_size, crop_size, KINETICS_MEAN, KINETICS_STD)


def kinetics(file: str) -> dict[str, str]:
    """Where weights trained on Kinetics-400 are published."""
    return {"kinetics400": f"{ZOO}/kinetics/{file}"}


def accuracy(top1: float, top5: float | None, protocol: str = "30 views", source: str = TABLE) -> Accuracy:
    """What they were published with."""
    return Accuracy(top1, top5, "Kinetics-400", protocol, source)


def import_hub() -> Any:
    """``pytorchvideo.models.hub``, without what torch says about the way in which it is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it scripts its layers, which torch deprecates
        from pytorchvideo.models import hub
    return hub


def finish_net(network: Any, request: BuildRequest, head_pool: nn.Module | None) -> nn.Module:
    """Weights, logits, hidden layer and blocks for a network that is a list of ``blocks``, the last of them its head.

    Args:
        network: with ``blocks``; the last one a ``ResNetBasicHead``.
        request: what was asked for.
        head_pool: in place of the head's own pool, which has the size of one input; None: it has none.
    """
    from vidclf.models.blocks import HEAD, declare
    from vidclf.models.heads import extend_head
    from vidclf.models.weights import load_backbone

    last = len(network.blocks) - 1
    head, output = network.blocks[last], f"blocks.{last}.proj"
    head.activation = (
        None  # X3D's and R(2+1)D's are a softmax, also in training: cross-entropy would apply a second one
    )
    if head_pool is not None:
        head.pool = head_pool
    load_backbone(network, request.origin, output)
    extend_head(network, output, request.head_hidden, request.dropout)
    plan: Plan = [(f"block{number}" if number < last else HEAD, [f"blocks.{number}"]) for number in range(last + 1)]
    return declare(network, plan)
