"""Training batches on the device, epoch after epoch, from one loader that never stops to begin anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Loading:
    """Who reads and decodes."""

    workers: int = 0  # processes; 0: this one
    context: str | None = None  # how they are started; None: forked. Connections to a bucket do not survive a fork


HERE = Loading()


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
        loading: Loading,
        epoch: int = 0,
        step: int = 0,
    ):
        self._plan, self._rank, self._quarantine = plan, rank, quarantine
        self._loaded = iter(_loader(_Epochs(data), _Sampler(plan, epoch, step), rank, loading))

    def step(self, step: int, clock: Clock) -> Iterator[Clips]:
        """The batches of the next step, which is the ``step``-th of its epoch; ``clock`` counts the wait for them."""
        for _ in range(self._plan.batches_in(step)):
            with clock.waiting():
                clips = _on_device(next(self._loaded), self._rank, self._quarantine)
            yield clips


class FixedFeed:
    """This rank's part of a dataset without epochs, as often as it is iterated: for validation.

    Args:
        batch_size: over all ranks, which may have unequal numbers of batches.
    """

    def __init__(
        self,
        data: ClipDataset,
        batch_size: int,
        rank: Rank,
        quarantine: Quarantine,
        loading: Loading,
        first_batch_only: bool = False,
    ):
        self.view = data.view
        self._rank, self._quarantine = rank, quarantine
        mine = list(range(rank.number, len(data), rank.world_size))
        size = max(1, batch_size // rank.world_size)
        batches = [mine[start : start + size] for start in range(0, len(mine), size)]
        self._loader = _loader(data, batches[:1] if first_batch_only else batches, rank, loading)

    def __iter__(self) -> Iterator[Clips]:
        for loaded in self._loader:
            yield _on_device(loaded, self._rank, self._quarantine)


def _loader(data: Dataset[Sample], batches: object, rank: Rank, loading: Loading) -> DataLoader[Sample]:
    return DataLoader(
        data,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=loading.workers,
        multiprocessing_context=loading.context if loading.workers else None,
        persistent_workers=loading.workers > 0,
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
