"""A sample and a batch of them, with what could not be read accounted for."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import torch
from torch import Tensor


class Failure(NamedTuple):
    """A clip that could not be read."""

    clip_id: str
    reason: str


class Sample(TypedDict):
    """What one index gives."""

    video: Tensor  # uint8: training (C, T, H, W), evaluation (V, C, T, H, W); zeros where it could not be read
    label_id: int
    index: int
    weight: float  # 1; 0 where it could not be read
    failure: Failure | None


class Batch(NamedTuple):
    """Samples, together. A clip of weight 0 counts nowhere: neither in a loss nor in an accuracy."""

    videos: Tensor  # uint8 (B, …), as the samples'
    label_ids: Tensor  # int64 (B,)
    weights: Tensor  # float32 (B,): 1; 0 where the clip could not be read
    indices: list[int]
    failures: list[Failure]  # of the clips of weight 0


def collate(samples: list[Sample]) -> Batch:
    """Samples → batch, for a ``DataLoader``."""
    return Batch(
        videos=torch.stack([sample["video"] for sample in samples]),
        label_ids=torch.tensor([sample["label_id"] for sample in samples]),
        weights=torch.tensor([sample["weight"] for sample in samples], dtype=torch.float32),
        indices=[sample["index"] for sample in samples],
        failures=[sample["failure"] for sample in samples if sample["failure"] is not None],
    )
