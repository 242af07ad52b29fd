"""SlowFast's two pathways out of one view."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SlowFast(nn.Module):
    """pytorchvideo's SlowFast blocks behind a forward that takes one tensor, as all models here do.

    Args:
        blocks: stem, four stages, pool of both pathways, head.
        alpha: the slow pathway sees one frame in so many.
    """

    def __init__(self, blocks: nn.ModuleList, alpha: int):
        super().__init__()
        self.blocks = blocks
        self.alpha = alpha

    def forward(self, video: Tensor) -> Tensor:
        """float (B, C, T, H, W) → logits (B, num_classes); T a multiple of ``alpha``"""
        frames = video.shape[2]
        # from the first frame to the last, as the published weights were trained
        chosen = torch.linspace(0, frames - 1, frames // self.alpha, device=video.device).long()
        features = [video.index_select(2, chosen), video]  # [slow, fast]
        for block in self.blocks:
            features = block(features)
        return features  # type: ignore[return-value]  # the last two blocks join the pathways
