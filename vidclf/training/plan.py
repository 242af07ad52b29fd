"""Which clips are trained on when, and by whom: settled by seed and epoch, before anything is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidclf.config import TrainConfig
from vidclf.errors import ConfigError


@dataclass(frozen=True)
class EpochPlan:
    """Every rank takes the same number of steps, of batches of the same size. What does not fill a batch waits for
    another epoch's order. One worker alone and several together see the same clips in the same step."""

    num_samples: int
    per_worker: int  # clips per batch and worker
    rank: int
    world_size: int
    seed: int
    epochs: int
    num_batches: int  # per epoch and worker
    accumulation_steps: int  # batches per step; an epoch's last step may have fewer
    probabilities: tuple[float, ...] | None = None  # of each sample to be drawn; None: each comes once an epoch

    @classmethod
    def of(
        cls,
        num_samples: int,
        config: TrainConfig,
        rank: int = 0,
        world_size: int = 1,
        probabilities: Sequence[float] | None = None,
    ) -> EpochPlan:
        """
        Raises:
            ConfigError: a batch is larger than the data, or cannot be shared among the workers.
        """
        size = config.optim.batch_size
        if config.fast_dev_run:  # a try of what is meant for more data
            size = max(world_size, min(size, num_samples) // world_size * world_size)
        if size > num_samples:
            raise ConfigError(
                f"optim.batch_size is {size}, but split {config.data.train_split!r} has {num_samples} clips and variants:"
                f" at most {num_samples}"
            )
        if size % world_size:
            raise ConfigError(
                f"{world_size} workers cannot share batches of {size} clips equally: choose an optim.batch_size that is a"
                f" multiple of num_workers"
            )
        num_batches = 1 if config.fast_dev_run else num_samples // size
        return cls(
            num_samples,
            size // world_size,
            rank,
            world_size,
            config.seed,
            1 if config.fast_dev_run else config.optim.epochs,
            num_batches,
            min(config.optim.accumulation_steps, num_batches),
            tuple(probabilities) if probabilities is not None else None,
        )

    @property
    def steps(self) -> int:
        """Of the optimiser, per epoch."""
        return math.ceil(self.num_batches / self.accumulation_steps)

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps

    def batches_in(self, step: int) -> int:
        """How many batches the step of an epoch has, counted from 0."""
        return min(self.accumulation_steps, self.num_batches - step * self.accumulation_steps)

    def batches(self, epoch: int, first_step: int = 0) -> list[list[int]]:
        """This rank's batches of an epoch from a step on, as indices."""
        order = self._order(epoch)
        together = self.per_worker * self.world_size
        return [
            order[batch * together : (batch + 1) * together][self.rank :: self.world_size].tolist()
            for batch in range(first_step * self.accumulation_steps, self.num_batches)
        ]

    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch))
        if self.probabilities is None:
            return rng.permutation(self.num_samples)
        return rng.choice(self.num_samples, self.num_samples, p=np.asarray(self.probabilities))
