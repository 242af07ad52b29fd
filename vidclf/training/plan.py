"""Which clips are trained on when, and by whom: settled by seed and epoch, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidclf.config import TrainConfig
from vidclf.errors import ConfigError


@dataclass(frozen=True)
class EpochPlan:
    """Every rank takes the same number of steps, of batches of the same size. What does not fill a batch waits for
    another epoch's order. One worker alone and several together see the same clips in the same step."""

    num_samples: int
    per_worker: int  # clips per step and worker
    rank: int
    world_size: int
    seed: int
    epochs: int
    steps: int  # per epoch

    @classmethod
    def of(cls, num_samples: int, config: TrainConfig, rank: int, world_size: int) -> EpochPlan:
        """
        Raises:
            ConfigError: there are more workers than clips, or than clips in a batch.
        """
        per_worker = min(config.optim.batch_size, num_samples) // world_size
        if per_worker < 1:
            raise ConfigError(
                f"{world_size} workers cannot share batches of {min(config.optim.batch_size, num_samples)} clips:"
                f" lower num_workers (optim.batch_size is {config.optim.batch_size}, the split has {num_samples} clips)"
            )
        steps = 1 if config.fast_dev_run else num_samples // (per_worker * world_size)
        epochs = 1 if config.fast_dev_run else config.optim.epochs
        return cls(num_samples, per_worker, rank, world_size, config.seed, epochs, steps)

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps

    def batches(self, epoch: int) -> list[list[int]]:
        """This rank's batches of an epoch, as indices."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
        together = self.per_worker * self.world_size
        return [
            order[step * together : (step + 1) * together][self.rank :: self.world_size].tolist()
            for step in range(self.steps)
        ]
