"""Multiscale vision transformers as torchvision builds them.

V1: Fan et al. 2021, https://arxiv.org/abs/2104.11227. V2: Li et al. 2022, https://arxiv.org/abs/2112.01526
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidclf.models import Accuracy, BuildRequest, Cost, InputLimits, register
from vidclf.models.families._torchvision import accuracy, finish, kinetics, views

if TYPE_CHECKING:
    from torch import nn

PATCH = 4  # pixels that become one token
DEPTH = 16  # blocks
STAGE_STARTS = (1, 3, 14)  # the first blocks of the second, third and fourth stage
PROTOCOL = "5 views of 16 frames at 7.5 per second"


def _mvit(name: str, summary: str, file: str, published: Accuracy, cost: Cost) -> None:
    @register(
        name,
        family="torchvision_mvit",
        summary=summary,
        defaults=views(16, 4),
        limits=InputLimits(min_frames=2, frames_multiple_of=2, crop_multiple_of=PATCH),
        published=kinetics(file),
        accuracy=published,
        cost=cost,
    )
    def build(request: BuildRequest) -> nn.Module:
        """For views of exactly the size asked for; published positions are interpolated to it."""
        network = _network(name, request)
        last = len(network.blocks) - 1
        plan = [
            ("embed", ["conv_proj", "pos_encoding"]),
            *((f"block{number}", [f"blocks.{number}"]) for number in range(last)),
            (f"block{last}", [f"blocks.{last}", "norm"]),
            ("head", ["head"]),
        ]
        return finish(network, request, "head.1", plan)


def _network(name: str, request: BuildRequest) -> Any:
    """torchvision's own builders take one size of view only; the class takes any."""
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    second = name == "mvit_v2_s"
    return MViT(
        spatial_size=(request.crop_size, request.crop_size),
        temporal_size=request.num_frames,
        block_setting=[MSBlockConfig(**_block(number, 8 if request.narrow else 96, second)) for number in range(DEPTH)],
        residual_pool=second,
        residual_with_cls_embed=False,
        rel_pos_embed=second,
        proj_after_attn=second,
        stochastic_depth_prob=0.2,
        num_classes=request.num_classes,
        dropout=request.dropout,
    )


def _block(number: int, channels: int, second: bool) -> dict[str, Any]:
    """Table 2 of both papers: a stage has twice the channels and heads of the one before and a quarter of its tokens.

    The first version widens at the end of a stage, the second in the attention of the next one's first block.
    """
    stage = _stage(number)
    starts = number in STAGE_STARTS
    before, after = (_stage(number - 1), stage) if second else (stage, _stage(number + 1))
    kernel, stride = [3, 3, 3], [1, 2, 2] if starts else [1, 1, 1]
    return {
        "num_heads": 2**stage,
        "input_channels": channels * 2**before,
        "output_channels": channels * 2**after,
        "kernel_q": kernel if second or starts else [],
        "kernel_kv": kernel,
        "stride_q": stride if second or starts else [],
        "stride_kv": [1, 8 // 2**stage, 8 // 2**stage],
    }


def _stage(number: int) -> int:
    return sum(number >= start for start in STAGE_STARTS)


_mvit(
    "mvit_v1_b",
    "MViT-B: a transformer whose tokens get fewer and richer with depth",
    "mvit_v1_b-dbeb1030.pth",
    accuracy(78.477, 93.582, PROTOCOL),
    Cost(36_610_672, 70.6),
)
_mvit(
    "mvit_v2_s",
    "MViT version 2, small: tokens know where they are from each other",
    "mvit_v2_s-ae3be167.pth",
    accuracy(80.757, 94.665, PROTOCOL),
    Cost(34_537_744, 64.22),
)
