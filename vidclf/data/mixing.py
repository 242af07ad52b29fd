"""Mixup and CutMix for batches of videos, on the device. torchvision's refuse batches of five dimensions.

mixup: https://arxiv.org/abs/1710.09412; CutMix: https://arxiv.org/abs/1905.04899, its box through all frames.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from vidclf.config import DataConfig


def mix(
    videos: Tensor,
    label_ids: Tensor,
    num_classes: int,
    config: DataConfig,
    generator: torch.Generator,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mix each video with its neighbour in the batch, all with one share.

    Args:
        videos: float (B, C, T, H, W), normalised.
        label_ids: int64 (B,).
        num_classes: of the targets.
        config: mixup_alpha and cutmix_alpha are used; with both, a coin decides for each batch.
        generator: on the CPU; each call takes one number from it, whatever is drawn.
        weights: (B,), 0 for clips that could not be read: they are mixed into no other. None: all could.

    Returns:
        videos of the same shape, and soft targets float32 (B, num_classes), which sum to 1.
    """
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    targets = one_hot(label_ids, num_classes).float()
    if not config.mixup_alpha and not config.cutmix_alpha:
        return videos, targets
    partner = _partners(len(videos), weights).to(videos.device)
    if config.cutmix_alpha and (not config.mixup_alpha or rng.random() < 0.5):
        videos, share = _cutmix(videos, partner, rng.beta(config.cutmix_alpha, config.cutmix_alpha), rng)
    else:
        share = rng.beta(config.mixup_alpha, config.mixup_alpha)
        videos = videos.lerp(videos[partner], 1 - share)
    return videos, targets.lerp(targets[partner], 1 - share)


def _partners(size: int, weights: Tensor | None) -> Tensor:
    """int64 (B,): each readable clip's readable neighbour; an unreadable one is its own."""
    partner = torch.arange(size)
    readable = partner.clone() if weights is None else partner[weights.cpu() > 0]
    partner[readable] = readable.roll(1)
    return partner


def _cutmix(videos: Tensor, partner: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """The partner's box in each video; and the share of the picture that is still its own, to the pixel."""
    height, width = videos.shape[-2:]
    half = np.sqrt(1 - share) / 2
    middle_y, middle_x = rng.random(2)
    top, bottom = (round(height * min(1, max(0, middle_y + sign * half))) for sign in (-1, 1))
    left, right = (round(width * min(1, max(0, middle_x + sign * half))) for sign in (-1, 1))
    mixed = videos.clone()
    mixed[..., top:bottom, left:right] = videos[partner][..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
