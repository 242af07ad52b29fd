"""What is minimised: cross-entropy of each clip, weighted by class where that is asked for."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from vidclf.config import OptimConfig


class Criterion:
    """Losses per clip. ``class_weights`` float (num_classes,), on the device, or None."""

    def __init__(self, config: OptimConfig, class_weights: Tensor | None = None):
        self._label_smoothing = config.label_smoothing
        self._class_weights = class_weights

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (B, num_classes) and label ids (B,), or shares of classes (B, num_classes) → losses (B,).

        With weights of classes the mean over a batch is not divided by their sum, as torch's is: so it does not depend on
        how a batch is shared among workers.
        """
        losses = cross_entropy(logits, targets, label_smoothing=self._label_smoothing, reduction="none")
        if self._class_weights is None:
            return losses
        weights = self._class_weights[targets] if targets.ndim == 1 else targets @ self._class_weights
        return losses * weights

    def mixed(self, videos: Tensor, label_ids: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Videos and targets as they are trained on."""
        return videos, label_ids
