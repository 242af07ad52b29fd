"""X3D. Feichtenhofer 2020, "X3D: Expanding Architectures for Efficient Video Recognition", https://arxiv.org/abs/2004.04730"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from vidclf.errors import ConfigError
from vidclf.models import KINETICS_MEAN, KINETICS_STD, BuildRequest, ModelDefaults, register

if TYPE_CHECKING:
    from torch import nn

PUBLISHED = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/X3D_XS.pyth"
PUBLISHED_CLASSES = 400
SMALLEST_CROP = 32  # the network halves the picture five times


@register(
    "x3d_xs",
    family="x3d",
    summary="3-D convolutions, expanded for efficiency; the smallest of its family",
    defaults=ModelDefaults(
        num_frames=4, sampling_rate=12, side_size=182, crop_size=182, mean=KINETICS_MEAN, std=KINETICS_STD
    ),
    weights=("kinetics400",),
    top1=69.12,
    top5=88.63,
)
def x3d_xs(request: BuildRequest) -> nn.Module:
    """Any number of frames, any crop from 32 pixels on: the head pools over whatever it gets.

    Raises:
        ConfigError: the crop is too small.
    """
    if request.crop_size < SMALLEST_CROP:
        raise ConfigError(f"model 'x3d_xs' needs a crop_size of at least {SMALLEST_CROP}, got {request.crop_size}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # pytorchvideo scripts its layers, which torch deprecates
        from pytorchvideo.models.x3d import create_x3d
    import torch
    from torch import nn

    pretrained = request.weights == "kinetics400"
    network = create_x3d(
        input_clip_length=request.num_frames,
        input_crop_size=request.crop_size,
        model_num_class=PUBLISHED_CLASSES if pretrained else request.num_classes,
        dropout_rate=request.dropout,
        inner_act=nn.SiLU,  # the same function as pytorchvideo's own Swish, whose backward torch deprecates
        head_activation=None,  # its own is a softmax, also in training: cross-entropy would apply a second one
    )
    head = network.blocks[-1]
    head.pool.pool = nn.AdaptiveAvgPool3d(1)  # its own has the size of one input
    if pretrained:
        _load_published(network)
        head.proj = nn.Linear(head.proj.in_features, request.num_classes)
    built: nn.Module = network.to(memory_format=torch.channels_last_3d)  # 1.7 times the speed on a CPU
    from vidclf.models.blocks import declare

    return declare(built, [*((f"block{n}", [f"blocks.{n}"]) for n in range(5)), ("head", ["blocks.5"])])


def _load_published(network: nn.Module) -> None:
    from vidclf.models._weights import fetch, load_into

    content = fetch(PUBLISHED)
    if not isinstance(content, dict) or "model_state" not in content:
        raise ConfigError(f"weights {PUBLISHED} have no 'model_state'")
    load_into(network, content["model_state"], PUBLISHED)
