"""What the fan-out stages share: leave alone what is settled, do the rest, and write every end into the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from prefect import get_run_logger

from tasks.fanout import Settled, fan_out
from tasks.progress import board
from tasks.run import IngestRun
from vidclf.errors import Postponed
from vidclf.ledger import Entry, LedgerWriter, compact
from vidclf.stages import StageJob

Job = TypeVar("Job", bound=StageJob)


def settle(
    run: IngestRun,
    stage: str,
    shard: int,
    do: Callable[[Job], list[Entry]],
    jobs: Iterable[Job],
    timeout: float,
    held: Callable[[], bool] = lambda: False,
    on_entries: Callable[[list[Entry]], None] = lambda entries: None,
) -> None:
    """Do the jobs of one stage and shard as Ray tasks; one ledger entry per clip.

    Where a part of several clips fails as a whole (its process died, say), they are tried one by one: one of them costs
    only itself. So are those that a job left undone.

    Args:
        timeout: seconds per job.
        held: while it is true, no further job is begun.
        on_entries: called with the entries of each job that ended.
    """
    began = time.monotonic()
    counts = _Counts()
    with LedgerWriter(run.store, stage, shard, run.run_id) as ledger:

        def account(jobs: Iterable[Job]) -> list[StageJob]:
            broken: list[StageJob] = []
            for settled in fan_out(
                do,
                jobs,
                timeout=timeout,
                attempts=run.config.execution.attempts,
                held=held,
                on_postponed=_Waiting(stage),
            ):
                run.lease.check()
                alone = settled.job.alone() if settled.error is not None else ()
                if alone:
                    broken.extend(alone)
                    continue
                entries = _entries(settled, stage)
                if len(entries) < len(settled.job.keys):
                    broken.extend(settled.job.rest({entry.key for entry in entries}))
                for entry in entries:
                    ledger.append(entry)
                counts.add(entries)
                on_entries(entries)
                board.advance(stage, len(entries), sum(not entry.ok for entry in entries))
            return broken

        broken = account(jobs)
        if broken:
            account(broken)  # type: ignore[arg-type]  # of the same class
    if counts.done:
        compact(run.store, stage, shard, run.run_id)
        seconds = time.monotonic() - began
        get_run_logger().info(
            "%s, shard %d: %d done, %d failed, %.1f s, %.1f a second",
            stage, shard, counts.done, counts.failed, seconds, counts.done / seconds if seconds else 0.0,
        )  # fmt: skip


class _Counts:
    def __init__(self) -> None:
        self.done = self.failed = 0

    def add(self, entries: list[Entry]) -> None:
        self.done += len(entries)
        self.failed += sum(not entry.ok for entry in entries)


class _Waiting:
    """Says once for each pause that everybody waits for a host, and until when."""

    def __init__(self, stage: str):
        self._stage = stage
        self._said: set[tuple[str, int]] = set()

    def __call__(self, postponed: Postponed) -> None:
        if not postponed.why:
            return  # its allowed rate, nothing more
        until = datetime.fromtimestamp(postponed.until, UTC)
        sentence = f"everybody waits for {postponed.host} until {until:%H:%M:%S} UTC: {postponed.why}"
        board.wait_for(self._stage, postponed.until, sentence)
        if (postponed.host, round(postponed.until)) not in self._said:
            self._said.add((postponed.host, round(postponed.until)))
            get_run_logger().warning("%s", sentence)


def _entries(settled: Settled[Job, list[Entry]], stage: str) -> list[Entry]:
    job, error = settled.job, settled.error
    entries = settled.value or [] if error is None else job.failed(stage, error)
    each = round(settled.seconds / max(1, len(entries)), 4)
    return [replace(entry, attempts=settled.attempts, seconds=each) for entry in entries]


def open_items(run: IngestRun, entries: dict[str, Entry], keys: Iterable[str], stage: str) -> Iterator[str]:
    """The keys that are not settled; the others count as done on the board."""
    for key in keys:
        entry = entries.get(key)
        if run.is_settled(entry):
            assert entry is not None
            board.advance(stage, failed=not entry.ok)
        else:
            yield key
