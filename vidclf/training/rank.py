"""One of the processes that train together, and what they say to each other."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Rank:
    """Which of how many, and where it computes. With more than one, torch.distributed is initialised by the caller."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    number: int = 0
    world_size: int = 1
    cpus: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))  # that this process may use

    @property
    def is_first(self) -> bool:
        return self.number == 0

    def total(self, sums: Tensor) -> Tensor:
        """The sums over all ranks; ``sums`` itself stays this rank's."""
        summed = sums.clone()
        if self.world_size > 1:
            torch.distributed.all_reduce(summed)
        return summed

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in their order, on the first rank; nothing on the others."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        torch.distributed.gather_object(value, values if self.is_first else None)
        return values if self.is_first else []

    def agree_on_buffers(self, module: nn.Module) -> None:
        """Give every rank the first one's buffers: running means are each rank's own while it trains."""
        if self.world_size > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def joined(self, module: nn.Module) -> nn.Module:
        """``module`` with its gradients averaged over the ranks. Of what is trainable now: to be called again after
        something was unfrozen."""
        if self.world_size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices, broadcast_buffers=False)

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.world_size > 1:
            torch.distributed.barrier()


ALONE = Rank()
