"""What a dataset asks of a reader: frames of one clip, decoded only where they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Entry:
    """One stored clip or variant."""

    clip_id: str
    label_id: int
    variant: int  # 0 is the unaltered clip
    path: str  # relative to the dataset: of its part of frames, or of its mp4
    row: int  # row group in a part of frames; 0 in an mp4


class Frames(Protocol):
    """The frames of one clip in order of time, still compressed."""

    def __len__(self) -> int:
        """How many there are."""

    def decode(self, indices: Sequence[int]) -> Tensor:
        """The frames at ``indices``, each decoded once: uint8 (len(indices), C, H, W), RGB.

        Raises:
            Unreadable: one of them is damaged.
        """


class Reader(Protocol):
    """Opens clips of a dataset. Travels to other processes, where it opens files of its own."""

    def open(self, entry: Entry) -> AbstractContextManager[Frames]:
        """The frames of ``entry``, for as long as the ``with`` block lasts.

        Raises:
            StorageError: they cannot be fetched, or are another clip's.
            MediaError: what was fetched is damaged.
        """
