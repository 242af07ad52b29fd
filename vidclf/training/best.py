"""Which epoch was the best so far, and whether it is time to stop."""

from __future__ import annotations

from typing import Any

from vidclf.config import OptimConfig


class Best:
    """The best epoch so far, and how long there was none that is better by ``min_delta``."""

    def __init__(self, config: OptimConfig):
        self._config = config
        self._rank: tuple[float, float] | None = None  # the lower the better
        self._mark: float | None = None  # what must be undercut by min_delta
        self.epoch = 0  # of the best, from 1; 0: none yet
        self.stale = 0  # epochs since the mark

    def take(self, epoch: int, val_loss: float, val_top1: float) -> bool:
        """Whether ``epoch`` is the best so far."""
        value = val_loss if self._config.monitor == "val_loss" else -val_top1
        if self._mark is None or value < self._mark - self._config.min_delta:
            self._mark, self.stale = value, 0
        else:
            self.stale += 1
        rank = (value, val_loss)
        if self._rank is not None and rank >= self._rank:
            return False
        self._rank, self.epoch = rank, epoch
        return True

    @property
    def is_over(self) -> bool:
        """Whether nothing better has come for ``patience`` epochs."""
        return self._config.patience is not None and self.stale >= self._config.patience

    def state_dict(self) -> dict[str, Any]:
        return {"rank": self._rank, "mark": self._mark, "epoch": self.epoch, "stale": self.stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rank = tuple(state["rank"]) if state["rank"] is not None else None
        self._mark, self.epoch, self.stale = state["mark"], state["epoch"], state["stale"]
