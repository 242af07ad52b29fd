"""Export: a snapshot as class folders with a CSV per split, for programs that read those."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from vidclf.clips import safe_name
from vidclf.errors import ConfigError, StorageError
from vidclf.maintenance.datasets import require_dataset
from vidclf.maintenance.files import in_threads
from vidclf.snapshot import Snapshot, read_snapshot
from vidclf.storage import Store
from vidclf.takedown import removed_ids

MARKER = "export.json"  # which export a folder holds; written first, so that a killed one is gone on with
Kind = Literal["clips", "frames"]
_COLUMNS = [
    "annotation_id", "clip_id", "label", "label_id", "split", "clip_path", "bytes", "frames_path", "frames_row",
    "num_variants", "variants_path", "variants_row",
]  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What is exported, and how."""

    kind: Kind = "clips"
    splits: tuple[str, ...] = ()  # none: all
    labels: tuple[str, ...] = ()  # none: all
    variants: bool = False  # augmented ones too, as folders of their own
    link: bool = False  # hard links instead of copies
    header: bool = False  # a first row "path,label" in each CSV
    separator: str = ","  # between the columns; paths have neither commas nor spaces

    @property
    def contents(self) -> dict[str, Any]:
        """What decides which files there are; the rest is how they are written, or written anew each time."""
        return {"as": self.kind, "splits": self.splits, "labels": self.labels, "variants": self.variants}


@dataclass(frozen=True)
class Exported:
    """What is in the folder now."""

    snapshot_id: str
    folder: str
    videos: dict[str, int]  # rows of each split's CSV, variants counted
    removed: int  # clips that were taken out on request since
    unlabelled: int  # clips without a label, which have no class folder


@dataclass(frozen=True)
class Item:
    """One row of a CSV: a video, or a folder of pictures."""

    split: str
    path: str  # relative to the folder
    label_id: int
    clip_id: str
    variant: int
    source: str  # relative to the dataset
    row: int | None  # row group, where it is frames
    bytes: int | None  # where it is a video


def export(store: Store, folder: Path, options: Options = Options(), snapshot_id: str = "latest") -> Exported:
    """Write ``{split}/{label}/{clip_id}.mp4``, or ``{split}/{label}/{clip_id}/00001.jpg`` …, and ``{split}.csv``.

    The CSVs have ``path,label_id``, the paths relative to ``folder``; ``classes.txt`` and ``classes.json`` have the labels
    in the order of label_id. Class folders are named by ``vidclf.clips.safe_name`` of the label. The CSVs come last, so
    that they stand for the whole; an export that was killed goes on when it is asked for again.

    Raises:
        ConfigError: there is no such snapshot, nothing in it is asked for, an option does not fit, or the folder has
            something else in it.
        StorageError: a file of the snapshot is missing or cannot be read, or the folder cannot be written.
    """
    require_dataset(store)
    snapshot = read_snapshot(store, snapshot_id)
    _check(store, snapshot, options)
    rows, removed, unlabelled = _chosen(snapshot, options, removed_ids(store))
    if not len(rows):
        raise ConfigError(f"snapshot {snapshot.snapshot_id} of {store.uri} has no ok clip of these splits and labels")
    _claim(folder, store, snapshot, options)
    splits: dict[str, list[Item]] = {}
    try:
        for item in in_threads(store, _Writer(store, folder, options.link), _items(rows, options)):
            splits.setdefault(item.split, []).append(item)
        _write_lists(folder, snapshot.classes, splits, options)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error}") from error
    counts = {split: len(items) for split, items in sorted(splits.items())}
    return Exported(snapshot.snapshot_id, str(folder), counts, removed, unlabelled)


def _check(store: Store, snapshot: Snapshot, options: Options) -> None:
    unknown = [label for label in options.labels if label not in snapshot.classes]
    if unknown:
        raise ConfigError(f"there is no label {unknown[0]!r}; there are: {', '.join(snapshot.classes)}")
    if options.variants and options.kind != "frames":
        raise ConfigError("variants exist as frames only: --variants goes with --as frames")
    if options.link and (options.kind != "clips" or not store.is_local):
        raise ConfigError("only clips of a dataset in a local folder can be linked, not frames, and not a bucket")


def _chosen(snapshot: Snapshot, options: Options, taken_out: Collection[str]) -> tuple[pa.Table, int, int]:
    """The rows to export, and how many were left out: removed on request, without a label."""
    rows = snapshot.clips.sort_by("annotation_id")
    if options.splits:
        rows = rows.filter(pc.is_in(rows["split"], pa.array(options.splits)))
    if options.labels:
        rows = rows.filter(pc.is_in(rows["label"], pa.array(options.labels)))
    unlabelled = pc.sum(pc.equal(rows["status"], "unlabelled")).as_py() or 0
    rows = rows.filter(pc.equal(rows["status"], "ok"))
    gone = pc.is_in(rows["clip_id"], pa.array(taken_out, pa.string()))
    return rows.filter(pc.invert(gone)).select(_COLUMNS), pc.sum(gone).as_py() or 0, unlabelled


def _claim(folder: Path, store: Store, snapshot: Snapshot, options: Options) -> None:
    """Make the folder ours: new, empty, or begun by the same export.

    Raises:
        ConfigError: something else is in it.
    """
    marker = folder / MARKER
    wanted = json.dumps({"dataset": store.uri, "snapshot_id": snapshot.snapshot_id, **options.contents}, indent=2)
    try:
        if marker.is_file() and marker.read_text() == wanted:
            return
        if folder.exists() and any(found.name != _temporary(marker).name for found in folder.iterdir()):
            held = "holds another export" if marker.is_file() else "is not empty"
            raise ConfigError(f"folder {folder} {held}: name a new or an empty one")
        folder.mkdir(parents=True, exist_ok=True)
        _write_text(marker, wanted)
    except OSError as error:
        raise ConfigError(f"cannot write {folder}: {error.strerror or error}") from error


def _items(rows: pa.Table, options: Options) -> Iterator[Item]:
    """What to write, once per split and clip: annotations that repeat another's clip count once."""
    seen: set[tuple[str, str]] = set()
    for batch in rows.to_batches(max_chunksize=8192):
        for row in batch.to_pylist():
            if (row["split"], row["clip_id"]) not in seen:
                seen.add((row["split"], row["clip_id"]))
                yield from _items_of(row, options)


def _items_of(row: dict[str, Any], options: Options) -> Iterator[Item]:
    split, clip_id, label_id = row["split"], row["clip_id"], row["label_id"]
    path = f"{split}/{safe_name(row['label'])}/{clip_id}"
    if options.kind == "clips":
        yield Item(split, f"{path}.mp4", label_id, clip_id, 0, row["clip_path"], None, row["bytes"])
        return
    yield Item(split, path, label_id, clip_id, 0, row["frames_path"], row["frames_row"], None)
    for variant in range(1, 1 + ((row["num_variants"] or 0) if options.variants else 0)):
        at = row["variants_row"] + variant - 1
        yield Item(split, f"{path}.v{variant}", label_id, clip_id, variant, row["variants_path"], at, None)


@dataclass(frozen=True)
class _Writer:
    """Writes an item, whole or not at all; leaves alone what is there already."""

    store: Store
    folder: Path
    link: bool

    def __call__(self, item: Item) -> Item:
        to = self.folder / item.path
        to.parent.mkdir(parents=True, exist_ok=True)
        if item.row is None:
            self._video(item, to)
        elif not to.is_dir():
            self._pictures(item, item.row, to)
        return item

    def _video(self, item: Item, to: Path) -> None:
        if to.is_file() and to.stat().st_size == item.bytes:
            return
        temporary = _temporary(to)
        temporary.unlink(missing_ok=True)
        if self.link:
            self._link(Path(self.store.full(item.source)), temporary)
        else:
            self.store.get_file(item.source, temporary)
        if temporary.stat().st_size != item.bytes:
            temporary.unlink()
            raise StorageError(f"{self.store.uri}/{item.source} is not the clip that the snapshot names: verify it")
        os.replace(temporary, to)

    def _link(self, source: Path, to: Path) -> None:
        try:
            os.link(source, to)
        except FileNotFoundError:
            raise StorageError(f"{source} is missing: verify the snapshot") from None
        except OSError as error:
            raise ConfigError(
                f"{source} cannot be linked into {self.folder} ({error.strerror}): links need one file system for both; "
                "copy instead"
            ) from error

    def _pictures(self, item: Item, row: int, to: Path) -> None:
        stored = self.store.read_row_group(item.source, row).to_pylist()
        if [(found["clip_id"], found["variant"]) for found in stored] != [(item.clip_id, item.variant)]:
            raise StorageError(
                f"row group {row} of {self.store.uri}/{item.source} is another clip: verify the snapshot"
            )
        temporary = _temporary(to)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for number, frame in enumerate(stored[0]["frames"], start=1):
            (temporary / f"{number:05d}.jpg").write_bytes(frame)
        temporary.rename(to)


def _write_lists(folder: Path, classes: list[str], splits: dict[str, list[Item]], options: Options) -> None:
    _write_text(folder / "classes.txt", "".join(f"{label}\n" for label in classes))
    _write_text(folder / "classes.json", json.dumps(classes, indent=2, ensure_ascii=False) + "\n")
    for split, items in splits.items():
        text = io.StringIO()
        writer = csv.writer(text, delimiter=options.separator, lineterminator="\n")
        if options.header:
            writer.writerow(("path", "label"))
        writer.writerows((item.path, item.label_id) for item in items)
        _write_text(folder / f"{split}.csv", text.getvalue())


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    _temporary(path).write_text(text, encoding="utf-8")
    os.replace(_temporary(path), path)
