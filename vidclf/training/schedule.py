"""How the learning rate moves: pure functions of the step, so that there is no state to resume and groups can be added.

Every value is a share of a group's own highest rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch.optim import Optimizer

from vidclf.config import OptimConfig

ONE_CYCLE_RISE = 0.3  # of the training, torch's default
ONE_CYCLE_END = 1e-4  # of where it began, torch's default
FASTEST, SLOWEST = 0.85, 0.95  # momentum of one-cycle while the rate is high, and while it is low; torch's defaults


@dataclass(frozen=True)
class Schedule:
    """The schedule of one training. Steps are counted from 0, over all epochs."""

    config: OptimConfig
    steps_per_epoch: int
    total_steps: int

    def set_rates(self, optimizer: Optimizer, step: int) -> None:
        """Set every group's learning rate for this step, and what one-cycle does to momentum."""
        share, momentum = self.factor(step), self.momentum(step)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share
            if momentum is not None and "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            elif momentum is not None and group["momentum"]:
                group["momentum"] = momentum

    def factor(self, step: int) -> float:
        """The learning rate at ``step``, as a share of the highest."""
        if self.config.schedule == "one_cycle":
            return self._one_cycle(step, self.config.warmup_factor, 1.0, self.config.warmup_factor * ONE_CYCLE_END)
        warmup = round((self.config.warmup_epochs or 0.0) * self.steps_per_epoch)
        if step < warmup:  # linear, as in Goyal et al. 2017, https://arxiv.org/abs/1706.02677
            begin = self.config.warmup_factor
            return begin + (1 - begin) * step / warmup
        if self.config.schedule == "cosine":  # Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983
            low = self.config.min_lr_factor
            return low + (1 - low) * (1 + math.cos(math.pi * (step - warmup) / (self.total_steps - warmup))) / 2
        if self.config.schedule == "step":
            return float(self.config.gamma ** (step // self.steps_per_epoch // self.config.step_size))
        return 1.0

    def momentum(self, step: int) -> float | None:
        """One-cycle's momentum at ``step``; None: the schedule leaves it alone."""
        if self.config.schedule != "one_cycle":
            return None
        return self._one_cycle(step, SLOWEST, FASTEST, SLOWEST)

    def _one_cycle(self, step: int, begin: float, middle: float, end: float) -> float:
        """Up, then down along two halves of cosines, as torch.optim.lr_scheduler.OneCycleLR does.

        Smith & Topin 2018, "Super-Convergence", https://arxiv.org/abs/1708.07120
        """
        warmup = self.config.warmup_epochs
        rise = ONE_CYCLE_RISE * self.total_steps if warmup is None else warmup * self.steps_per_epoch
        top, last = rise - 1, self.total_steps - 1
        if step <= top:
            return _between(begin, middle, step / top if top else 1.0)
        return _between(middle, end, (step - top) / (last - top) if last > top else 1.0)


def _between(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * share))
