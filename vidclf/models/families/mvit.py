"""Multiscale vision transformers as pytorchvideo builds them. Fan et al. 2021, https://arxiv.org/abs/2104.11227"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidclf.models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Accuracy,
    BuildRequest,
    Cost,
    InputLimits,
    ModelDefaults,
    register,
)
from vidclf.models.families._pytorchvideo import HUB, TABLE, ZOO, accuracy, import_hub, kinetics, views

if TYPE_CHECKING:
    from torch import nn

    from vidclf.models.blocks import Plan

PATCH = 4  # pixels that become one token


def _mvit(name: str, summary: str, file: str, defaults: ModelDefaults, published: Accuracy, cost: Cost) -> None:
    @register(
        name,
        family="mvit",
        summary=summary,
        defaults=defaults,
        limits=InputLimits(min_frames=2, frames_multiple_of=2, crop_multiple_of=PATCH),
        published=kinetics(file),
        accuracy=published,
        cost=cost,
    )
    def build(request: BuildRequest) -> nn.Module:
        """For views of exactly the size asked for; published positions are interpolated to it."""
        from vidclf.models.blocks import declare
        from vidclf.models.heads import extend_head
        from vidclf.models.weights import load_backbone

        network = _network(name, request, request.num_frames)
        load_backbone(network, request.origin, "head.proj")
        extend_head(network, "head.proj", request.head_hidden, request.dropout)
        return declare(network, _plan(network))


def _network(name: str, request: BuildRequest, temporal_size: int) -> Any:
    narrow = {"patch_embed_dim": 8} if request.narrow else {}
    return getattr(import_hub(), name)(
        spatial_size=request.crop_size,
        temporal_size=temporal_size,
        head_num_classes=request.num_classes,
        head_dropout_rate=request.dropout,
        **narrow,
    )


def _plan(network: Any, prefix: str = "") -> Plan:
    """Its normalisation after the last block belongs to that block: the head is the output layer alone."""
    from vidclf.models.blocks import HEAD

    last = len(network.blocks) - 1
    return [
        ("embed", [f"{prefix}patch_embed", f"{prefix}cls_positional_encoding"]),
        *((f"block{number}", [f"{prefix}blocks.{number}"]) for number in range(last)),
        (f"block{last}", [f"{prefix}blocks.{last}", f"{prefix}norm_embed"]),
        (HEAD, [f"{prefix}head"]),
    ]


_mvit(
    "mvit_base_16x4",
    "MViT-B: a transformer whose tokens get fewer and richer with depth",
    "MVIT_B_16x4.pyth",
    views(16, 4),
    accuracy(78.85, 93.85, "5 views", TABLE),
    Cost(36_610_672, 70.6),
)
_mvit(
    "mvit_base_32x3",
    "MViT-B on more frames",
    "MVIT_B_32x3_f294077834.pyth",
    views(32, 3),
    accuracy(80.3, None, "5 views", f"{HUB}/vision_transformers.py"),
    Cost(36_611_440, 169.96),
)


@register(
    "mvit_base_16",
    family="mvit",
    summary="MViT-B on single frames, probabilities averaged: blind to motion",
    defaults=ModelDefaults(8, 8, 256, 224, IMAGENET_MEAN, IMAGENET_STD),
    limits=InputLimits(crop_multiple_of=PATCH),
    published={"imagenet": f"{ZOO}/imagenet/MVIT_B_16_f292487636.pyth"},
    accuracy=Accuracy(83.0, None, "ImageNet", "one picture", f"{HUB}/vision_transformers.py"),
    cost=Cost(36_982_696, 62.47),
)
def mvit_base_16(request: BuildRequest) -> nn.Module:
    """Any number of frames. In training one of them is used, drawn at random."""
    from vidclf.models.blocks import declare
    from vidclf.models.families._frames import FrameAverage
    from vidclf.models.heads import extend_head
    from vidclf.models.weights import load_backbone

    network = _network("mvit_base_16", request, temporal_size=1)
    load_backbone(network, request.origin, "head.proj")
    extend_head(network, "head.proj", request.head_hidden, request.dropout)
    return declare(FrameAverage(network), _plan(network, "picture."))
