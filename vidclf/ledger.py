"""The account of everything that was done: append-only Parquet files, one row per attempt that ended.

``ledger/{stage}/{run_id}-{writer}-{number}.parquet``. Nothing is ever changed in them; what holds for a key is the
last row written about it under the same recipe.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from time import monotonic

import pyarrow as pa
import pyarrow.compute as pc

from vidclf.clips import LEDGER
from vidclf.errors import is_settled
from vidclf.storage import Store

FLUSH_SECONDS = 2.0  # what a kill can cost, at most, beside the work in flight
FLUSH_ROWS = 512


@dataclass(frozen=True)
class Entry:
    """What became of one key in one stage. The fields are the columns of ``vidclf.clips.LEDGER``."""

    key: str
    stage: str
    recipe: str
    outcome: str = "ok"
    error_kind: str | None = None
    error_message: str | None = None
    attempts: int = 1
    source: str | None = None
    path: str | None = None
    row: int | None = None
    sha256: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    duration: float | None = None
    num_frames: int | None = None
    num_variants: int | None = None
    run_id: str = ""
    finished_at: datetime | None = None
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"

    @property
    def settled(self) -> bool:
        """Whether a rerun leaves this key alone."""
        return is_settled(self.error_kind)


class LedgerWriter:
    """Appends entries of one stage of one run, a file at a time. Safe to use from several threads.

    Use as a context manager: leaving it, also by an exception, writes what is still held.
    """

    def __init__(self, store: Store, stage: str, run_id: str):
        self.store = store
        self.stage = stage
        self.run_id = run_id
        self._writer = uuid.uuid4().hex[:8]
        self._number = 0
        self._held: list[Entry] = []
        self._last_flush = monotonic()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def append(self, entry: Entry) -> None:
        with self._lock:
            self._held.append(replace(entry, run_id=self.run_id, finished_at=entry.finished_at or datetime.now(UTC)))
            due = len(self._held) >= FLUSH_ROWS or monotonic() - self._last_flush >= FLUSH_SECONDS
            if not due and self._timer is None:  # nothing else may come for minutes
                self._timer = threading.Timer(FLUSH_SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()
        if due:
            self.flush()

    def flush(self) -> None:
        """Write what is held as one file."""
        with self._lock:
            self._last_flush = monotonic()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if not self._held:
                return
            table = pa.Table.from_pylist([asdict(entry) for entry in self._held], schema=LEDGER)
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{self.run_id}-{self._writer}-{self._number:06d}.parquet"
            self.store.write_table(f"ledger/{self.stage}/{name}", table)
            self._number += 1
            self._held.clear()


def read_stage(store: Store, stage: str, recipe: str | None, keys: Iterable[str] | None = None) -> dict[str, Entry]:
    """The last entry of every key of a stage under ``recipe`` (None: any); only of ``keys``, where they are given."""
    wanted = None if keys is None else pa.array(set(keys), pa.string())
    latest: dict[str, Entry] = {}
    for path in store.files(f"ledger/{stage}", ".parquet"):  # names begin with the time: later files override
        table = store.read_table(path)
        if recipe is not None:
            table = table.filter(pc.equal(table["recipe"], recipe))
        if wanted is not None:
            table = table.filter(pc.is_in(table["key"], wanted))
        for row in table.to_pylist():
            held = latest.get(row["key"])
            if held is None or row["finished_at"] >= held.finished_at:
                latest[row["key"]] = Entry(**row)
    return latest
