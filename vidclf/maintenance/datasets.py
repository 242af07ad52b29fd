"""What the upkeep asks of a dataset: what was published, and what the ledger last said of each file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vidclf.creation import DATASET
from vidclf.errors import ConfigError
from vidclf.ledger import DROPPED, Entry
from vidclf.maintenance.files import folders_in
from vidclf.snapshot import LATEST
from vidclf.stages.augment import STAGE as AUGMENT
from vidclf.storage import Store

TAKEDOWN_RUN = "remove"  # how the run_id of a takedown begins
_COLUMNS = ["key", "recipe", "outcome", "error_kind", "source", "path", "finished_at"]


@dataclass(frozen=True)
class Published:
    """One event in a dataset's life: a snapshot became its latest."""

    snapshot_id: str
    published_at: datetime
    run_id: str

    @property
    def by_takedown(self) -> bool:
        return self.run_id.startswith(f"{TAKEDOWN_RUN}-")


def require_dataset(store: Store) -> dict[str, Any]:
    """``dataset.json``.

    Raises:
        ConfigError: there is no dataset at this place.
    """
    if not store.is_file(DATASET):
        raise ConfigError(f"dataset {store.uri} has no snapshot yet: run an ingest first")
    found: dict[str, Any] = store.read_json(DATASET)
    return found


def published(store: Store) -> list[Published]:
    """What was published, newest first; none before the first publish."""
    found = store.read_versioned(LATEST)
    if found is None:
        return []
    latest = json.loads(found[0])
    return [
        Published(event["snapshot_id"], datetime.fromisoformat(event["published_at"]), event["run_id"])
        for event in (latest, *latest.get("history", ()))
    ]


def whole_snapshots(store: Store) -> list[str]:
    """The snapshots that were written to their end, published or not."""
    return [name for name in folders_in(store, "snapshots") if store.is_file(f"snapshots/{name}/stats.json")]


def shards_of(store: Store, stage: str) -> Iterator[tuple[int, list[str]]]:
    """(shard, its ledger files) of a stage, in order."""
    by_shard: dict[int, list[str]] = {}
    for path in store.files_below(f"ledger/{stage}", ".parquet"):
        by_shard.setdefault(int(path.split("/")[2]), []).append(path)
    yield from sorted(by_shard.items())


def last_entries(store: Store, paths: list[str]) -> list[dict[str, Any]]:
    """The last entry of every (key, recipe) in the ledger files of a shard, the oldest first.

    Returns:
        Of each: key, recipe, outcome, error_kind, source, path, finished_at.
    """
    if not paths:
        return []
    table = pa.concat_tables(list(store.read_tables(paths, _COLUMNS)))
    table = table.take(pc.sort_indices(table["finished_at"]))  # stable
    last = {(row["key"], row["recipe"]): row for row in table.to_pylist()}
    return sorted(last.values(), key=lambda row: row["finished_at"])


def last_words(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of ``last_entries``, the last one of every key, whatever its recipe."""
    return {entry["key"]: entry for entry in entries}


def dropped(entry: dict[str, Any], stage: str) -> Entry:
    """The account that the file of ``entry`` is gone, so that a later run makes it again.

    It is later than what it revokes also where this machine's clock is behind the writer's.
    """
    variants = 0 if stage == AUGMENT else None
    return Entry(
        entry["key"],
        stage,
        entry["recipe"],
        DROPPED,
        path=entry["path"],
        num_variants=variants,
        finished_at=after(entry),
    )


def after(entry: dict[str, Any]) -> datetime:
    """Now, or a microsecond after ``entry`` where that is later."""
    return max(datetime.now(UTC), entry["finished_at"] + datetime.resolution)
