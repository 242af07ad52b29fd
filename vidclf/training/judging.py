"""How good a model is on a split: for validation, and for the test after it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from vidclf.evaluation.scoring import view_probabilities
from vidclf.training.feed import FixedFeed
from vidclf.training.rank import Rank
from vidclf.training.reports import Judged


@torch.inference_mode()
def judge(
    module: nn.Module,
    feed: FixedFeed,
    rank: Rank,
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Judged:
    """Every rank takes its part of the videos. Nothing waits for another in between. What cannot be read counts nowhere.

    Args:
        module: not wrapped; put into eval mode. All ranks use the first one's running means.
        feed: of a dataset made with ``train=False``.
        autocast: in which the model computes.
    """
    rank.agree_on_buffers(module)
    module.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=rank.device)
    for clips in feed:
        with autocast():
            views = view_probabilities(module, clips.videos, feed.view)  # (B, V, num_classes)
        sums += _sums(views.float().mean(dim=1), clips.label_ids, clips.weights)
    loss, right, videos = rank.total(sums).tolist()
    return Judged(loss / max(videos, 1), right / max(videos, 1), int(videos))


def _sums(probabilities: Tensor, label_ids: Tensor, weights: Tensor) -> Tensor:
    logarithms = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
    losses = nll_loss(logarithms, label_ids, reduction="none") * weights
    right = (probabilities.argmax(dim=1) == label_ids) * weights
    return torch.stack([losses.sum(), right.sum(), weights.sum()]).double()
