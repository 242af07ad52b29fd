"""A moving average of the weights, which is judged and kept in place of the weights themselves.

Polyak & Juditsky 1992; for batch-normalised networks the running means are averaged likewise.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MovingAverage:
    """``decay`` of the average and the rest of the new weights, after every step; it begins with the first ones."""

    def __init__(self, module: nn.Module, decay: float):
        self._averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self._averaged.requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        """The averaged model, of the class of the one that it follows."""
        return self._averaged.module

    def follow(self, module: nn.Module) -> None:
        """Take the weights of ``module`` in."""
        self._averaged.update_parameters(module)

    def state_dict(self) -> dict[str, Any]:
        return dict(self._averaged.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averaged.load_state_dict(state)
