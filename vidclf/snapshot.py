"""Snapshots: the immutable manifest of a dataset, published whole. ``latest.json`` names the one to use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidclf.clips import MANIFEST, SCHEMA_VERSION
from vidclf.errors import ConfigError, StorageError
from vidclf.storage import Store

LATEST = "latest.json"
CLASSES = "classes.json"

#: What two equal datasets may differ in: where things lie, and how an error was worded.
NOT_IDENTITY = {"error_message", "clip_path", "frames_path", "frames_row", "variants_path", "variants_row"}


@dataclass(frozen=True)
class Snapshot:
    """A manifest and what belongs to it."""

    snapshot_id: str
    clips: pa.Table  # vidclf.clips.MANIFEST, one row per annotation
    classes: list[str]  # index = label_id
    stats: dict[str, Any]
    made_by: dict[str, Any]  # the settings of the stages that made it, and their recipes


def dataset_store(store: str, dataset: str) -> Store:
    """The part of a store that belongs to one dataset."""
    return Store(store).at(f"datasets/{dataset}")


def snapshot_id_of(clips: pa.Table, recipes: dict[str, str]) -> str:
    """A hash of the rows in canonical order, without messages and locations, and of the recipes that made them.

    Column by column: its name, which rows are null, then the values; of strings, their lengths and then their bytes.
    Independent of how Arrow holds the table.
    """
    names = [name for name in MANIFEST.names if name not in NOT_IDENTITY]
    rows = clips.select(names).sort_by("annotation_id")
    digest = hashlib.sha256(json.dumps({"schema": SCHEMA_VERSION, **recipes}, sort_keys=True).encode())
    for name in names:
        column = rows[name].combine_chunks()
        digest.update(f"{name} {len(column)}\n".encode())
        digest.update(np.packbits(column.is_null().to_numpy(zero_copy_only=False)).tobytes())
        if pa.types.is_string(column.type):
            column = column.fill_null("")
            digest.update(pc.binary_length(column).to_numpy().astype("<i4").tobytes())
            for batch in range(0, len(column), 65536):
                digest.update("".join(column.slice(batch, 65536).to_pylist()).encode("utf-8", "surrogatepass"))
        else:
            values = column.fill_null(0).to_numpy(zero_copy_only=False)
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:16]


def statistics(clips: pa.Table) -> dict[str, Any]:
    """Counts that people ask for first: by status, by kind of error, by class and split."""
    by_class: dict[str, dict[str, int]] = {}
    ok = clips.filter(pc.equal(clips["status"], "ok"))
    for row in ok.group_by(["label", "split"]).aggregate([([], "count_all")]).to_pylist():
        by_class.setdefault(row["label"], {})[row["split"]] = row["count_all"]
    return {
        "annotations": len(clips),
        "status": _counts(clips["status"]),
        "errors": _counts(clips["error_kind"]),
        "ok_by_class": {label: dict(sorted(counts.items())) for label, counts in sorted(by_class.items())},
        "variants": pc.sum(clips["num_variants"]).as_py() or 0,
        "seconds": round(pc.sum(clips["duration"]).as_py() or 0.0, 3),
    }


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(column.drop_null()).to_pylist()
    return {pair["values"]: pair["counts"] for pair in sorted(counted, key=lambda pair: str(pair["values"]))}


def extend_classes(known: list[str], labels: set[str]) -> list[str]:
    """``known`` with the new labels behind, sorted: an id that was given never changes."""
    return known + sorted(labels - set(known))


def register_classes(store: Store, labels: set[str]) -> list[str]:
    """The dataset's class list, index = label_id, with ``labels`` in it. Append-only, and kept for good.

    Raises:
        StorageError: somebody else changed it in this moment.
    """
    found = store.read_versioned(CLASSES)
    known = json.loads(found[0]) if found else []
    classes = extend_classes(known, labels)
    if classes != known and not store.replace(CLASSES, json.dumps(classes).encode(), found[1] if found else None):
        raise StorageError(f"{store.uri}/{CLASSES} was changed by somebody else in this moment; run again")
    return classes


def write_snapshot(store: Store, clips: pa.Table, classes: list[str], made_by: dict[str, Any]) -> Snapshot:
    """Write a snapshot's files; nobody sees it before ``point_latest_at``. Writing the same again changes nothing."""
    snapshot = Snapshot(snapshot_id_of(clips, made_by["recipes"]), clips, classes, statistics(clips), made_by)
    folder = f"snapshots/{snapshot.snapshot_id}"
    if not store.exists(f"{folder}/stats.json"):  # written last, so it stands for the whole
        store.write_table(f"{folder}/clips.parquet", clips, compression="zstd", row_group_size=65536)
        store.write_json(f"{folder}/classes.json", classes)
        store.write_json(f"{folder}/made_by.json", made_by)
        store.write_json(f"{folder}/stats.json", snapshot.stats)
    return snapshot


def point_latest_at(store: Store, snapshot: Snapshot, run_id: str) -> bool:
    """Make ``snapshot`` the dataset's latest, atomically; the file remembers what was published before it.

    Returns:
        Whether that changed anything: False where it was the latest already.

    Raises:
        StorageError: somebody else published in between.
    """
    found = store.read_versioned(LATEST)
    before = json.loads(found[0]) if found else {}
    if before.get("snapshot_id") == snapshot.snapshot_id:
        return False
    names = ("snapshot_id", "published_at", "run_id")
    latest = {
        "snapshot_id": snapshot.snapshot_id,
        "published_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "run_id": run_id,
        "previous": before.get("snapshot_id"),
        "history": [{name: before[name] for name in names}, *before.get("history", [])] if before else [],
    }
    if not store.replace(LATEST, json.dumps(latest, indent=2).encode(), found[1] if found else None):
        raise StorageError(f"{store.uri}: somebody else published in this moment; run again")
    return True


def report_of(store: Store, snapshot_id: str) -> str | None:
    """The path of the report of the run that published a snapshot; None where it wrote none, or did not publish it."""
    found = store.read_versioned(LATEST)
    latest = json.loads(found[0]) if found else {}
    for published in (latest, *latest.get("history", [])):
        path = f"runs/{published.get('run_id')}/report.html"
        if published.get("snapshot_id") == snapshot_id and store.is_file(path):
            return path
    return None


def latest_id(store: Store) -> str | None:
    """The id that ``latest.json`` names; None before the first publish."""
    found = store.read_versioned(LATEST)
    return str(json.loads(found[0])["snapshot_id"]) if found else None


def has_snapshot(store: Store, snapshot_id: str) -> bool:
    """Whether there is a snapshot of this id, complete."""
    return store.exists(f"snapshots/{snapshot_id}/stats.json")  # written last


def read_snapshot(store: Store, snapshot_id: str = "latest") -> Snapshot:
    """Read a published snapshot.

    Raises:
        ConfigError: there is none of that name.
    """
    if snapshot_id == "latest":
        named = latest_id(store)
        if named is None:
            raise ConfigError(f"dataset {store.uri} has no snapshot yet: run an ingest first")
        snapshot_id = named
    folder = f"snapshots/{snapshot_id}"
    if not has_snapshot(store, snapshot_id):
        raise ConfigError(f"dataset {store.uri} has no snapshot {snapshot_id!r}")
    return Snapshot(
        snapshot_id,
        store.read_table(f"{folder}/clips.parquet").cast(MANIFEST),
        store.read_json(f"{folder}/classes.json"),
        store.read_json(f"{folder}/stats.json"),
        store.read_json(f"{folder}/made_by.json"),
    )


def ok_share(clips: pa.Table) -> float:
    """The share of the annotations that became clips, labelled or not; 1 where there are none."""
    failed = pc.sum(pc.equal(clips["status"], "failed")).as_py() or 0
    return 1.0 - failed / len(clips) if len(clips) else 1.0
