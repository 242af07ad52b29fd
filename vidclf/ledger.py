"""The account of everything that was done: append-only Parquet files, one row per clip and end of a stage.

``ledger/{stage}/{shard}/{time}-{run_id}-{writer}-{number}.parquet``. Nothing is ever changed in them; what holds for a
key is the last row written about it under the same recipe. When a stage is through with a shard, the shard's files are
merged into one, so that Kinetics' 644 shards stay 644 files a stage.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from time import monotonic

import pyarrow as pa
import pyarrow.compute as pc

from vidclf.clips import LEDGER
from vidclf.errors import StorageError, is_settled
from vidclf.storage import Store

FLUSH_SECONDS = 2.0  # what a kill can cost, at most, beside the work in flight
FLUSH_ROWS = 512
DROPPED = "dropped"
READS = 5  # of a shard whose files are merged while they are read


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
    begins_at: float | None = None
    ends_at: float | None = None
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
        return self.outcome != DROPPED and is_settled(self.error_kind)


class LedgerWriter:
    """Appends entries of one stage and shard, a file at a time. Safe to use from several threads.

    Use as a context manager: leaving it, also by an exception, writes what is still held.
    """

    def __init__(self, store: Store, stage: str, shard: int, run_id: str):
        self.store = store
        self.folder = folder_of(stage, shard)
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
            self.store.write_table(f"{self.folder}/{_file_name(self.run_id, self._writer, self._number)}", table)
            self._number += 1
            self._held.clear()


def folder_of(stage: str, shard: int) -> str:
    """Where the entries of a shard's clips lie."""
    return f"ledger/{stage}/{shard:05d}"


def read_shard(store: Store, stage: str, shard: int, recipe: str | None) -> dict[str, Entry]:
    """The last entry of every key of a shard under ``recipe`` (None: any)."""
    tables = _read_folder(store, folder_of(stage, shard))
    return {row["key"]: Entry(**row) for row in _latest(tables, recipe).to_pylist()}


def scan(store: Store, stage: str, recipe: str | None, columns: Sequence[str] = ()) -> pa.Table:
    """The last entry of every key of all shards under ``recipe`` (None: any), as a table.

    Args:
        columns: those wanted beside ``key``, ``recipe`` and ``finished_at``; none: all of ``LEDGER``.
    """
    wanted = [name for name in LEDGER.names if not columns or name in (*columns, "key", "recipe", "finished_at")]
    by_shard: dict[str, list[pa.Table | None]] = {}
    paths = store.files_below(f"ledger/{stage}", ".parquet")
    for path, table in zip(paths, store.read_tables_left(paths, wanted), strict=True):
        by_shard.setdefault(path.rsplit("/", 1)[0], []).append(table)
    latest = [
        _latest([table for table in tables if table is not None], recipe)
        if all(table is not None for table in tables)
        else _latest(_read_folder(store, folder, wanted), recipe)  # somebody has merged its files
        for folder, tables in by_shard.items()
    ]
    schema = pa.schema([LEDGER.field(name) for name in wanted])
    return pa.concat_tables([table.cast(schema) for table in latest] or [schema.empty_table()])


def compact(store: Store, stage: str, shard: int, run_id: str) -> None:
    """Merge a shard's files into one. Only for the holder of the dataset's lease; a kill in between loses nothing."""
    paths = store.files(folder_of(stage, shard), ".parquet")
    if len(paths) < 2:
        return
    merged = pa.concat_tables(list(store.read_tables(paths)))
    writer = uuid.uuid4().hex[:8]
    store.write_table(f"{folder_of(stage, shard)}/{_file_name(run_id, writer, 0)}", merged)
    for path in paths:
        store.delete(path)


def stages(store: Store) -> list[str]:
    """The stages that have entries."""
    return sorted({path.split("/")[1] for path in store.files_below("ledger", ".parquet")})


def _read_folder(store: Store, folder: str, columns: list[str] | None = None) -> list[pa.Table]:
    """A shard's files, also for readers without the lease, between whose listing and reading a run may merge them.

    Raises:
        StorageError: they cannot be read; or they were merged again and again.
    """
    for _ in range(READS):
        paths = store.files(folder, ".parquet")
        tables = [table for table in store.read_tables_left(paths, columns) if table is not None]
        if len(tables) == len(paths):
            return tables
    raise StorageError(f"{store.uri}/{folder} was changed {READS} times while it was read; run again")


def _latest(tables: Sequence[pa.Table], recipe: str | None) -> pa.Table:
    """The last row of every key."""
    table = pa.concat_tables(tables) if tables else LEDGER.empty_table()
    if recipe is not None:
        table = table.filter(pc.equal(table["recipe"], recipe))
    table = table.take(pc.sort_indices(table["finished_at"]))  # stable
    last = {key: position for position, key in enumerate(table["key"].to_pylist())}
    return table.take(pa.array(last.values(), pa.int64()))


def _file_name(run_id: str, writer: str, number: int) -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{run_id}-{writer}-{number:06d}.parquet"
