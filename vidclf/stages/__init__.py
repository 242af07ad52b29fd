"""What happens to one clip (or one part of clips) in each stage: plain functions, run wherever the caller likes.

Each module has a frozen ``Job``, ``do(job)``, and the name of its ``STAGE`` in the ledger. ``do`` returns one ledger
entry per clip; it raises a ``ClipError`` for what is the clip's fault, and a ``StorageError`` for what is not. A job that
got through a part of its clips may return their entries alone; what is left of it is then done clip by clip.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from vidclf.errors import ClipError, Postponed, VidclfError
from vidclf.ledger import Entry
from vidclf.processes import DeadlinePassed
from vidclf.storage import Store

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """What all stages' jobs have."""

    store: Store  # of the dataset
    keys: tuple[str, ...]  # clip_ids
    recipe: str

    @property
    def source(self) -> str | None:
        """Who is asked for the clips, for the account of a failure."""
        return None

    def alone(self) -> Sequence[StageJob]:
        """The same work clip by clip, for a part that failed as a whole; none where it is one thing already."""
        return ()

    def rest(self, done: Collection[str]) -> Sequence[StageJob]:
        """The work of the clips that are not ``done``, clip by clip; none for a stage that always does all or nothing."""
        return ()

    def failed(self, stage: str, error: VidclfError) -> list[Entry]:
        """The account of every clip, where the error is that of them all."""
        return [
            Entry(key, stage, self.recipe, "failed", error.kind, str(error), source=self.source) for key in self.keys
        ]


def in_parts(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """``items`` in tuples of ``size``, the last one shorter."""
    iterator = iter(items)
    while part := tuple(islice(iterator, size)):
        yield part


def as_far_as_it_goes(entries: Iterable[Entry]) -> list[Entry]:
    """All entries, or those before what ended them, be it the job's time; raises where there is none before it."""
    got: list[Entry] = []
    try:
        for entry in entries:
            got.append(entry)
    except (ClipError, Postponed, DeadlinePassed):
        if not got:
            raise
    return got
