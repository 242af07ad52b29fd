"""What is minimised: cross-entropy of each clip, weighted by class where that is asked for, of clips mixed or not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vidclf.config import TrainConfig
from vidclf.data.balance import class_weights
from vidclf.data.dataset import ClipDataset
from vidclf.data.mixing import mix
from vidclf.training.randomness import seed_of
from vidclf.training.rank import Rank


class Criterion:
    """Losses per clip, as ``config`` asks for them; ``data`` tells the sizes of the classes."""

    def __init__(self, config: TrainConfig, data: ClipDataset, rank: Rank):
        self._config, self._num_classes, self._rank = config, len(data.classes), rank
        self._mixes = config.data.mixup_alpha > 0 or config.data.cutmix_alpha > 0
        weighted = config.data.balance == "loss"
        self._weights = class_weights(data.label_ids, len(data.classes)).to(rank.device) if weighted else None

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (B, num_classes) and label ids (B,), or shares of classes (B, num_classes) → losses (B,).

        With weights of classes the mean over a batch is not divided by their sum, as torch's is: so it does not depend on
        how a batch is shared among workers.
        """
        smoothing = self._config.optim.label_smoothing
        losses = cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
        if self._weights is None:
            return losses
        return losses * (self._weights[targets] if targets.ndim == 1 else targets @ self._weights)

    def mixed(self, videos: Tensor, label_ids: Tensor, weights: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Videos and targets as they are trained on.

        Args:
            videos: float (B, C, T, H, W).
            batch: its number in the training: what is drawn follows from it and the rank, so there is no state to keep.
        """
        if not self._mixes:
            return videos, label_ids
        generator = torch.Generator().manual_seed(seed_of(self._config.seed, batch, self._rank.number))
        return mix(videos, label_ids, self._num_classes, self._config.data, generator, weights)
