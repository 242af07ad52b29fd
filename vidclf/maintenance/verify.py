"""Verify: does a snapshot have what it names, byte for byte?"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from vidclf.errors import StorageError
from vidclf.ledger import DROPPED, stages
from vidclf.maintenance.datasets import last_entries, require_dataset, shards_of
from vidclf.maintenance.files import digest_of, files_in, in_threads
from vidclf.snapshot import CLASSES, Snapshot, read_snapshot, snapshot_id_of, statistics
from vidclf.storage import Store
from vidclf.takedown import removed_ids, unfinished

SHOWN = 50  # problems that are kept in words

#: What a manifest says of a clip's files; equal for all annotations of a clip.
_FILES = [
    "clip_id", "clip_path", "bytes", "sha256", "frames_path", "frames_row", "num_variants", "variants_path",
    "variants_row",
]  # fmt: skip


class StoredRow(NamedTuple):
    """Where a part of frames is to have a clip or a variant."""

    path: str
    row: int
    clip_id: str
    variant: int


@dataclass(frozen=True)
class Verification:
    """How a snapshot was found."""

    snapshot_id: str
    quick: bool
    annotations: int
    clips: int  # with files, those removed not counted
    removed: int  # clips that the snapshot has and that were taken out on request since
    dropped: int  # files that a collection of garbage removed
    num_problems: int
    problems: tuple[str, ...]  # the first ones

    @property
    def intact(self) -> bool:
        return self.num_problems == 0


def verify(store: Store, snapshot_id: str = "latest", *, quick: bool = False) -> Verification:
    """Recheck a snapshot: its rows, its classes, and every file that it names.

    Args:
        store: the dataset's part of the store.
        quick: look only whether the files are there and as large as they were; otherwise read all of them: clips
            against their SHA-256; of frames, that each row is the clip's, with the right number of whole JPEGs, the
            first of which decodes.

    Raises:
        ConfigError: there is no such dataset or snapshot.
        StorageError: the manifest cannot be read.
    """
    require_dataset(store)
    return _Check(store, read_snapshot(store, snapshot_id), quick).run()


class _Check:
    def __init__(self, store: Store, snapshot: Snapshot, quick: bool):
        self.store, self.snapshot, self.quick = store, snapshot, quick
        rows = snapshot.clips.filter(pc.not_equal(snapshot.clips["status"], "failed"))
        rows = rows.select(_FILES).group_by(_FILES, use_threads=False).aggregate([])
        taken_out = pc.is_in(rows["clip_id"], pa.array(removed_ids(store), pa.string()))
        self.clips, self.taken_out = rows.filter(pc.invert(taken_out)), rows.filter(taken_out)
        self.num_frames: int | None = snapshot.made_by.get("frames", {}).get("num_frames")
        self.dropped = 0

    def run(self) -> Verification:
        number, problems = 0, []
        for problem in chain(self._rows(), self._classes(), self._takedowns(), self._files()):
            number += 1
            if number <= SHOWN:
                problems.append(problem)
        return Verification(
            snapshot_id=self.snapshot.snapshot_id,
            quick=self.quick,
            annotations=len(self.snapshot.clips),
            clips=len(self.clips),
            removed=len(self.taken_out),
            dropped=self.dropped,
            num_problems=number,
            problems=tuple(problems),
        )

    def _rows(self) -> Iterator[str]:
        snapshot, clips = self.snapshot, self.snapshot.clips
        found = snapshot_id_of(clips, snapshot.made_by["recipes"])
        where = f"snapshots/{snapshot.snapshot_id}"
        if found != snapshot.snapshot_id:
            yield f"{where}/clips.parquet was changed: its rows are those of a snapshot {found}"
        if statistics(clips) != snapshot.stats:
            yield f"{where}/stats.json does not count the rows of clips.parquet"
        counts = pc.value_counts(clips["annotation_id"]).to_pylist()
        for repeated in (count for count in counts if count["counts"] > 1):
            yield f"annotation {repeated['values']} has {repeated['counts']} rows"
        lacking = pc.or_(pc.is_null(self.clips["clip_path"]), pc.is_null(self.clips["frames_path"]))
        for clip_id in self.clips.filter(lacking)["clip_id"].to_pylist():
            yield f"{clip_id} is ok, but the manifest names no clip or no frames of it"
        clip_ids = pc.value_counts(self.clips["clip_id"]).to_pylist()
        for differing in (count for count in clip_ids if count["counts"] > 1):
            yield f"{differing['values']}: its annotations name different files"

    def _classes(self) -> Iterator[str]:
        classes, clips = self.snapshot.classes, self.snapshot.clips
        known = self.store.read_json(CLASSES) if self.store.is_file(CLASSES) else []
        if known[: len(classes)] != classes:
            yield f"{CLASSES} gives other label_ids than snapshots/{self.snapshot.snapshot_id}/classes.json"
        expected = pc.index_in(clips["label"], pa.array(classes, pa.string()))
        wrong = pc.invert(pc.equal(pc.fill_null(expected, -1), pc.fill_null(clips["label_id"], -1)))
        for row in clips.filter(wrong).select(["annotation_id", "label", "label_id"]).to_pylist():
            yield f"{row['annotation_id']} is labelled {row['label']!r}, but its label_id is {row['label_id']}"

    def _takedowns(self) -> Iterator[str]:
        for clip_id in unfinished(self.store):
            yield f"the takedown of {clip_id} was cut short: run `vidclf dataset remove` for it again"

    def _files(self) -> Iterator[str]:
        if self.quick:
            yield from self._quickly()
            return
        for found in in_threads(self.store, self._clip, _dicts(self.clips)):
            yield from self._unless_dropped(found)
        for found in in_threads(self.store, self._part, _parts(self.clips)):
            yield from self._unless_dropped(found)
        for problems in in_threads(self.store, self._emptied, _parts(self.taken_out)):
            yield from problems
        for row in _dicts(self.taken_out):
            if row["clip_path"] and self.store.is_file(row["clip_path"]):
                yield _still_there(row["clip_id"], row["clip_path"])

    def _quickly(self) -> Iterator[str]:
        sizes: dict[str, int] = {}
        for folder in {path.rpartition("/")[0] for path in _paths(self.snapshot.clips)}:
            sizes |= {file.path: file.bytes for file in files_in(self.store, folder)}
        for row in _dicts(self.clips):
            if row["clip_path"] is None:
                continue  # said of its row
            if row["clip_path"] not in sizes:
                yield from self._unless_dropped([_Missing(row["clip_path"])])
            elif sizes[row["clip_path"]] != row["bytes"]:
                yield _other_size(row, sizes[row["clip_path"]])
        for path, _ in _parts(self.clips):
            if path not in sizes:
                yield from self._unless_dropped([_Missing(path)])
            elif sizes[path] == 0:
                yield f"{path} is empty"
        for row in _dicts(self.taken_out):
            if row["clip_path"] in sizes:
                yield _still_there(row["clip_id"], row["clip_path"])

    def _unless_dropped(self, found: Iterable[str | _Missing]) -> Iterator[str]:
        for problem in found:
            if not isinstance(problem, _Missing):
                yield problem
            elif problem.path in self._dropped_paths:
                self.dropped += 1
            else:
                yield f"{problem.path} is missing"

    @cached_property
    def _dropped_paths(self) -> set[str]:
        """What the ledger says was collected and not made again. Read when the first file is missing."""
        entries = (
            entry
            for stage in stages(self.store)
            for _, paths in shards_of(self.store, stage)
            for entry in last_entries(self.store, paths)
        )
        return {entry["path"] for entry in entries if entry["outcome"] == DROPPED and entry["path"]}

    def _clip(self, row: dict[str, Any]) -> list[str | _Missing]:
        if row["clip_path"] is None:
            return []  # said of its row
        try:
            found = digest_of(self.store, row["clip_path"])
        except StorageError as error:
            return [str(error)]
        if found is None:
            return [_Missing(row["clip_path"])]
        size, digest = found
        if size != row["bytes"]:
            return [_other_size(row, size)]
        return [] if digest == row["sha256"] else [f"{row['clip_path']} was changed: its SHA-256 is {digest}"]

    def _part(self, wanted: tuple[str, list[StoredRow]]) -> list[str | _Missing]:
        return self._of_part(wanted, lambda row, table: _wrong(row, table, self.num_frames))

    def _emptied(self, wanted: tuple[str, list[StoredRow]]) -> list[str]:
        found = self._of_part(wanted, _shown)
        return [problem for problem in found if not isinstance(problem, _Missing)]

    def _of_part(
        self, wanted: tuple[str, list[StoredRow]], look: Callable[[StoredRow, pa.Table], str | None]
    ) -> list[str | _Missing]:
        path, rows = wanted
        try:
            if not self.store.is_file(path):
                return [_Missing(path)]
            part = pq.ParquetFile(pa.BufferReader(self.store.read_bytes(path)))
        except (StorageError, pa.ArrowException, OSError) as error:
            return [f"{path} cannot be read: {error}"]
        problems: list[str | _Missing] = []
        for row in rows:
            if row.row >= part.num_row_groups:
                problems.append(f"{path} has no row group {row.row}, which is to be {_name(row)}")
                continue
            try:
                problem = look(row, part.read_row_group(row.row, use_threads=False))
            except (pa.ArrowException, OSError) as error:
                problem = f"row group {row.row} of {path} cannot be read: {error}"
            if problem:
                problems.append(problem)
        return problems


@dataclass(frozen=True)
class _Missing:
    """A file that is not there."""

    path: str


def _dicts(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=8192):
        yield from batch.to_pylist()


def _paths(rows: pa.Table) -> list[str]:
    columns = (pc.unique(rows[name].drop_null()).to_pylist() for name in ("clip_path", "frames_path", "variants_path"))
    return list(chain.from_iterable(columns))


def _parts(rows: pa.Table) -> Iterator[tuple[str, list[StoredRow]]]:
    """(part, the rows that are to be in it), of originals, then of variants."""
    originals = (
        StoredRow(row["frames_path"], row["frames_row"], row["clip_id"], 0)
        for row in _dicts(rows.filter(pc.is_valid(rows["frames_path"])).sort_by("frames_path"))
    )
    variants = (
        StoredRow(row["variants_path"], row["variants_row"] + variant - 1, row["clip_id"], variant)
        for row in _dicts(rows.filter(pc.is_valid(rows["variants_path"])).sort_by("variants_path"))
        for variant in range(1, (row["num_variants"] or 0) + 1)
    )
    for stored in (originals, variants):
        for path, group in groupby(stored, key=lambda row: row.path):
            yield path, list(group)


def _wrong(wanted: StoredRow, table: pa.Table, num_frames: int | None) -> str | None:
    """What is wrong with a row of frames, if anything is."""
    where = f"row group {wanted.row} of {wanted.path}"
    if len(table) != 1:
        return f"{where} has {len(table)} rows, which is to be {_name(wanted)} alone"
    row = table.to_pylist()[0]
    if (row["clip_id"], row["variant"]) != (wanted.clip_id, wanted.variant):
        return f"{where} is {row['clip_id']}, variant {row['variant']}; the manifest says {_name(wanted)}"
    frames: list[bytes] = row["frames"]
    expected = num_frames if num_frames is not None else len(row["timestamps"])
    if len(frames) != expected or len(row["timestamps"]) != expected or not frames:
        return f"{where}, {_name(wanted)}, has {len(frames)} frames instead of {expected}"
    for number, frame in enumerate(frames):
        if not (frame.startswith(b"\xff\xd8") and frame.endswith(b"\xff\xd9")):
            return f"{where}, {_name(wanted)}: frame {number} is no whole JPEG"
    size = _decoded_size(frames[0])
    if size != (row["width"], row["height"]):
        found = "does not decode" if size is None else f"is {size[0]}×{size[1]}, not {row['width']}×{row['height']}"
        return f"{where}, {_name(wanted)}: frame 0 {found}"
    return None


def _shown(removed: StoredRow, table: pa.Table) -> str | None:
    """A row of a clip that was taken out is to show nothing."""
    if any(row["clip_id"] == removed.clip_id and row["frames"] for row in table.to_pylist()):
        return _still_there(removed.clip_id, f"row group {removed.row} of {removed.path}")
    return None


def _decoded_size(jpeg: bytes) -> tuple[int, int] | None:
    """Width and height of a picture that can be decoded to its end."""
    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            image.load()
            return image.size
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for damaged pictures
        return None


def _name(row: StoredRow) -> str:
    return f"variant {row.variant} of {row.clip_id}" if row.variant else row.clip_id


def _other_size(row: dict[str, Any], size: int) -> str:
    return f"{row['clip_path']} has {size} bytes instead of {row['bytes']}"


def _still_there(clip_id: str, where: str) -> str:
    return f"{clip_id} was taken out, but {where} still shows it: run `vidclf dataset remove` for it again"
