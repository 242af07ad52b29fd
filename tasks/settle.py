"""What the fan-out stages share: leave alone what is settled, do the rest, and write every end into the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol, TypeVar

from prefect import get_run_logger

from tasks.fanout import Settled, fan_out
from tasks.progress import board
from tasks.run import IngestRun
from vidclf.ledger import Entry, LedgerWriter


class HasKey(Protocol):
    """A stage's job, known in the ledger by its key."""

    @property
    def key(self) -> str: ...


Job = TypeVar("Job", bound=HasKey)


def settle_each(
    run: IngestRun, stage: str, recipe: str, do: Callable[[Job], Entry], jobs: Iterable[Job], timeout: float
) -> None:
    """One Ray task and one ledger entry per job."""

    def entries(settled: Settled[Job, Entry]) -> list[Entry]:
        if settled.error is None:
            assert settled.value is not None
            return [settled.value]
        return [_failed(settled, settled.job.key, stage, recipe)]

    _settle(run, stage, do, jobs, timeout, entries)


def settle_parts(
    run: IngestRun,
    stage: str,
    recipe: str,
    do: Callable[[Job], list[Entry]],
    jobs: Iterable[Job],
    timeout: float,
    parts_of: Callable[[Job], list[Job]],
    clip_id: Callable[[Job], str],
) -> None:
    """One Ray task per part, one ledger entry per clip in it.

    Where a whole part fails (its process died, say), its clips are tried one by one: one of them costs only itself.
    """
    broken: list[Job] = []

    def entries(settled: Settled[Job, list[Entry]]) -> list[Entry]:
        if settled.error is None:
            return settled.value or []
        parts = parts_of(settled.job)
        if len(parts) > 1:
            broken.extend(parts)
            return []
        return [_failed(settled, clip_id(settled.job), stage, recipe)]

    _settle(run, stage, do, jobs, timeout, entries)
    if broken:
        _settle(run, stage, do, broken, timeout, entries)


def _settle(
    run: IngestRun,
    stage: str,
    do: Callable[[Job], Any],
    jobs: Iterable[Job],
    timeout: float,
    entries_of: Callable[[Settled[Job, Any]], list[Entry]],
) -> None:
    began = time.monotonic()
    done = failed = 0
    with LedgerWriter(run.store, stage, run.run_id) as ledger:
        for settled in fan_out(do, jobs, timeout=timeout, attempts=run.config.execution.attempts):
            run.lease.check()
            entries = entries_of(settled)
            for entry in entries:
                ledger.append(
                    replace(entry, attempts=settled.attempts, seconds=round(settled.seconds / len(entries), 4))
                )
            bad = sum(not entry.ok for entry in entries)
            done, failed = done + len(entries), failed + bad
            board.advance(stage, len(entries), bad)
    seconds = time.monotonic() - began
    if done:
        rate = done / seconds if seconds else 0.0
        get_run_logger().info("%s: %d done, %d failed, %.1f s, %.1f a second", stage, done, failed, seconds, rate)


def _failed(settled: Settled[Any, Any], key: str, stage: str, recipe: str) -> Entry:
    assert settled.error is not None
    return Entry(key, stage, recipe, "failed", settled.error.kind, str(settled.error))


def open_items(settled: dict[str, Entry], keys: Iterable[str], stage: str) -> Iterator[str]:
    """The keys that are not settled; the others count as done on the board."""
    for key in keys:
        entry = settled.get(key)
        if entry is not None and entry.settled:
            board.advance(stage, failed=not entry.ok)
        else:
            yield key


def in_parts(items: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """``items`` in tuples of ``size``, the last one shorter."""
    iterator = iter(items)
    while part := tuple(islice(iterator, size)):
        yield part
