"""How good a model is on a split: for validation, and for the test after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from vidclf.data.dataset import ClipDataset
from vidclf.data.quarantine import Quarantine
from vidclf.evaluation.scoring import view_probabilities
from vidclf.training.feed import fixed_batches
from vidclf.training.rank import Rank
from vidclf.training.reports import Judged


@torch.inference_mode()
def judge(
    module: nn.Module,
    data: ClipDataset,
    batch_size: int,
    rank: Rank,
    quarantine: Quarantine,
    loader_workers: int = 0,
    first_batch_only: bool = False,
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Judged:
    """Every rank takes its part of the videos. They may have unequal numbers: nothing waits for another in between.

    Args:
        module: not wrapped; put into eval mode. All ranks use the first one's running means.
        data: made with ``train=False``.
        batch_size: videos at a time, over all ranks.
        quarantine: counts the videos that cannot be read; they are in no number.
        autocast: in which the model computes.
    """
    rank.agree_on_buffers(module)
    module.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=rank.device)
    mine = list(range(rank.number, len(data), rank.world_size))
    size = max(1, batch_size // rank.world_size)
    batches = [mine[start : start + size] for start in range(0, len(mine), size)]
    for clips in fixed_batches(data, batches[:1] if first_batch_only else batches, rank, quarantine, loader_workers):
        with autocast():
            views = view_probabilities(module, clips.videos, data.view)  # (B, V, num_classes)
        sums += _sums(views.float().mean(dim=1), clips.label_ids, clips.weights)
    loss, right, videos = rank.total(sums).tolist()
    return Judged(loss / max(videos, 1), right / max(videos, 1), int(videos))


def _sums(probabilities: Tensor, label_ids: Tensor, weights: Tensor) -> Tensor:
    logarithms = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
    losses = nll_loss(logarithms, label_ids, reduction="none") * weights
    right = (probabilities.argmax(dim=1) == label_ids) * weights
    return torch.stack([losses.sum(), right.sum(), weights.sum()]).double()
