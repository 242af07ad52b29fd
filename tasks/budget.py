"""The disk budget: downloads wait while too many bytes lie before the later stages."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from vidclf.ledger import Entry


class Budget:
    """Bytes of downloaded videos that no transcode stage has been through yet, by shard.

    The oldest shard in work is never held back, since its videos go only when all of them are there.
    """

    def __init__(self, limit: float | None):
        self.limit = limit  # bytes; None: no bound
        self._waiting: dict[int, int] = {}  # in the order in which the shards began
        self._lock = threading.Lock()

    def open(self, shard: int, entries: Iterable[Entry]) -> Purse:
        """Begin a shard, of which ``entries`` are downloaded already."""
        with self._lock:
            self._waiting[shard] = 0
        purse = Purse(self, shard)
        purse.pay(entries)
        return purse

    def close(self, shard: int) -> None:
        """The shard's videos are no longer needed."""
        with self._lock:
            self._waiting.pop(shard, None)

    def _holds_back(self, shard: int) -> bool:
        with self._lock:
            if self.limit is None or next(iter(self._waiting), shard) == shard:
                return False
            return sum(self._waiting.values()) >= self.limit

    def _pay(self, shard: int, size: int) -> None:
        with self._lock:
            self._waiting[shard] = self._waiting.get(shard, 0) + size


@dataclass(frozen=True)
class Purse:
    """One shard's part of a budget."""

    budget: Budget
    shard: int

    def pay(self, entries: Iterable[Entry]) -> None:
        """These were downloaded; clips that share a file count it once."""
        files = {entry.path: entry.bytes or 0 for entry in entries if entry.ok}
        self.budget._pay(self.shard, sum(files.values()))

    def is_empty(self) -> bool:
        """Whether the shard's downloads have to wait."""
        return self.budget._holds_back(self.shard)
