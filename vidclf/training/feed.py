"""Training batches on the device, epoch after epoch, from one loader that never stops to begin anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vidclf.data.dataset import Batch, ClipDataset, Sample, collate
from vidclf.data.quarantine import Quarantine
from vidclf.training.clock import Clock
from vidclf.training.plan import EpochPlan
from vidclf.training.rank import Rank


class Clips(NamedTuple):
    """A batch on the device: of the clips that could be read."""

    videos: Tensor  # uint8 (B, C, T, H, W); of evaluation (B, V, C, T, H, W)
    label_ids: Tensor  # int64 (B,)
    weights: Tensor  # float32 (B,): 1; where no clip of the batch could be read, it is there all the same, with 0


class Feed:
    """The batches of all epochs from a position on. Readers run ahead also over the end of an epoch.

    Raises:
        TooManyUnreadable: from ``step``.
    """

    def __init__(
        self,
        data: ClipDataset,
        plan: EpochPlan,
        rank: Rank,
        quarantine: Quarantine,
        loader_workers: int = 0,
        epoch: int = 0,
        step: int = 0,
    ):
        self._plan, self._rank, self._quarantine = plan, rank, quarantine
        self._loaded = iter(_loader(_Epochs(data), _Sampler(plan, epoch, step), rank, loader_workers))

    def step(self, step: int, clock: Clock) -> Iterator[Clips]:
        """The batches of the next step, which is the ``step``-th of its epoch; ``clock`` counts the wait for them."""
        for _ in range(self._plan.batches_in(step)):
            with clock.waiting():
                clips = _on_device(next(self._loaded), self._rank, self._quarantine)
            yield clips


def fixed_batches(
    data: ClipDataset, batches: list[list[int]], rank: Rank, quarantine: Quarantine, loader_workers: int = 0
) -> Iterator[Clips]:
    """Batches of a dataset without epochs: for validation."""
    for loaded in _loader(data, batches, rank, loader_workers):
        yield _on_device(loaded, rank, quarantine)


def _loader(data: Dataset[Sample], batches: object, rank: Rank, loader_workers: int) -> DataLoader[Sample]:
    return DataLoader(
        data,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=loader_workers,
        pin_memory=rank.device.type == "cuda",
        generator=torch.Generator(),  # else it would draw from the global one, and a resumed run once more
    )


def _on_device(batch: Batch, rank: Rank, quarantine: Quarantine) -> Clips:
    quarantine.add(batch.failures)
    tensors = (batch.videos, batch.label_ids, batch.weights)
    readable = batch.weights > 0
    if batch.failures and readable.any():  # black pictures would go into the statistics of normalisation
        tensors = (batch.videos[readable], batch.label_ids[readable], batch.weights[readable])
    pinned = rank.device.type == "cuda"
    return Clips(*(tensor.to(rank.device, non_blocking=pinned) for tensor in tensors))


class _Epochs(Dataset[Sample]):
    """A dataset whose index says the epoch too, so that reader processes need not be told when one ends."""

    def __init__(self, data: ClipDataset):
        self._data = data

    def __getitem__(self, position: tuple[int, int]) -> Sample:
        epoch, index = position
        self._data.set_epoch(epoch)
        return self._data[index]


class _Sampler:
    """(epoch, index) of every batch from a position on."""

    def __init__(self, plan: EpochPlan, epoch: int, step: int):
        self._plan, self._epoch, self._step = plan, epoch, step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self._epoch, self._plan.epochs):
            for batch in self._plan.batches(epoch, self._step if epoch == self._epoch else 0):
                yield [(epoch, index) for index in batch]
