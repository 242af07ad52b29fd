"""Against classes of unequal size: draw their clips as often, or weigh them so. Both make classes equal, not clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def class_weights(label_ids: Sequence[int], num_classes: int) -> Tensor:
    """Weights of the classes in a loss: float32 (num_classes,), inversely proportional to their number of clips.

    Over all clips their mean is 1, so that the loss keeps its scale; a class without clips has 0.
    (scikit-learn's ``class_weight="balanced"``, after King and Zeng, 2001.)
    """
    counts = _counts(label_ids, num_classes)
    present = counts > 0
    weights = np.zeros(num_classes)
    weights[present] = len(label_ids) / (present.sum() * counts[present])
    return torch.from_numpy(weights).float()


def sample_probabilities(label_ids: Sequence[int], num_classes: int) -> NDArray[np.float64]:
    """Probability (N,) of drawing each clip, with which every class that has clips comes equally often; sums to 1."""
    counts = _counts(label_ids, num_classes)
    probabilities: NDArray[np.float64] = 1 / counts[np.asarray(label_ids, dtype=np.int64)]
    return probabilities / probabilities.sum()


def _counts(label_ids: Sequence[int], num_classes: int) -> NDArray[np.int64]:
    return np.bincount(np.asarray(label_ids, dtype=np.int64), minlength=num_classes)
