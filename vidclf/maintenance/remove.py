"""Takedown: clips are taken out of a dataset, for good, in all its recipes and snapshots; sources with every segment.

Kill it anywhere and run it again. First the tombstones are written, so that no run brings the clips back; then the latest
snapshot is replaced by one in which they are failed rows, ``removed``; then everything that shows them is erased.
Models that were trained on them before stay what they are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidclf.clips import FRAMES, MANIFEST, safe_name, shard_of
from vidclf.errors import AnnotationError, ConfigError, Removed
from vidclf.lease import Lease, hold
from vidclf.ledger import Entry, LedgerWriter, folder_of
from vidclf.maintenance.datasets import (
    TAKEDOWN_RUN,
    after,
    dropped,
    last_entries,
    require_dataset,
    shards_of,
    whole_snapshots,
)
from vidclf.maintenance.files import delete_files, files_in, folders_in, in_threads
from vidclf.runs import new_run_id
from vidclf.snapshot import Snapshot, latest_id, point_latest_at, read_snapshot, write_snapshot
from vidclf.stages.augment import STAGE as AUGMENT
from vidclf.stages.download import STAGE as DOWNLOAD
from vidclf.stages.frames import STAGE as OF_FRAMES
from vidclf.stages.transcode import STAGE as TRANSCODE
from vidclf.storage import Store
from vidclf.takedown import BEGUN, DONE, MESSAGE, SOURCES, STAGE, removed_ids

ANY_RECIPE = "*"

#: What ``vidclf.clips.clip_id`` puts behind the name of a source.
_SEGMENT = re.compile(r"_\d{6,}_\d{6,}$|_\d{9,}ms_\d{9,}ms$")

#: What a failed row of a manifest still says; all else is null.
_KEPT = {
    "annotation_id", "clip_id", "label", "label_id", "split", "source_id", "time_start", "time_end",
    "status", "error_kind", "error_message",
}  # fmt: skip
_UNSHOWN: dict[str, list[Any]] = {"frames": [], "timestamps": []}


@dataclass(frozen=True)
class Target:
    """A clip to take out."""

    clip_id: str
    source_id: str  # of a clip that only the ledger knows: its name there
    shard: int
    with_source: bool = False  # take its source out too: no list's segment of it is ever made


@dataclass(frozen=True)
class Takedown:
    """What was taken out."""

    clip_ids: tuple[str, ...]
    snapshot_id: str | None  # the latest, which is without them; None: nothing was published yet
    videos: int  # files erased: clips under every recipe, and source videos
    frames: int  # rows of frames emptied: originals and variants, under every recipe
    reports: int  # pages erased that showed one of the clips


def find_clips(store: Store, clip_ids: Collection[str], source_ids: Collection[str] = ()) -> tuple[Target, ...]:
    """The clips of these ids, and all clips of these sources, in whatever snapshot they are, in the ledger or in the store.

    Raises:
        ConfigError: there is no dataset, or an id is in none of these; the message names all that are not.
    """
    num_shards = int(require_dataset(store)["num_shards"])
    found: dict[str, Target] = {}
    for name in whole_snapshots(store):
        rows = store.read_table(f"snapshots/{name}/clips.parquet", ["clip_id", "source_id"])
        asked = pc.or_(
            pc.is_in(rows["clip_id"], pa.array(list(clip_ids), pa.string())),
            pc.is_in(rows["source_id"], pa.array(list(source_ids), pa.string())),
        )
        for clip_id, source in {(row["clip_id"], row["source_id"]) for row in rows.filter(asked).to_pylist()}:
            found[clip_id] = Target(clip_id, source, shard_of(source, num_shards), source in source_ids)
    for target in _in_the_ledger(store, {*clip_ids} - found.keys(), {*source_ids}, num_shards):
        found.setdefault(target.clip_id, target)
    for clip_id in {*clip_ids} - found.keys():
        if _is_stored(store, clip_id):
            name = _SEGMENT.sub("", clip_id)
            found[clip_id] = Target(clip_id, name, shard_of(name, num_shards))
    unknown = sorted({*clip_ids} - found.keys())
    unknown += sorted({*source_ids} - {target.source_id for target in found.values() if target.with_source})
    if unknown:
        shown = ", ".join(map(repr, unknown[:10])) + (f" and {len(unknown) - 10} more" if len(unknown) > 10 else "")
        raise ConfigError(f"dataset {store.uri} has never had {shown}; nothing was removed")
    return tuple(target for _, target in sorted(found.items()))


def _in_the_ledger(store: Store, clip_ids: set[str], source_ids: set[str], num_shards: int) -> Iterator[Target]:
    """The clips that a run worked on, whether or not a snapshot has them: of a later list, or of a run cut short."""
    named = {(safe_name(source), shard_of(source, num_shards)): source for source in source_ids}
    shards = {shard for _, shard in named}
    for stage in (DOWNLOAD, TRANSCODE, OF_FRAMES, AUGMENT) if clip_ids or named else ():
        for shard, paths in shards_of(store, stage):
            if not clip_ids and shard not in shards:
                continue
            for entry in last_entries(store, paths):
                name = _SEGMENT.sub("", entry["key"])
                source = named.get((name, shard))
                if source is not None or entry["key"] in clip_ids:
                    yield Target(entry["key"], source or name, shard, source is not None)


def _is_stored(store: Store, clip_id: str) -> bool:
    """Whether a file of the clip is there, of which a kill kept the ledger from knowing."""
    if "/" in clip_id:
        return False
    folders = ("sources", *(f"clips/{recipe}" for recipe in folders_in(store, "clips")))
    return any(store.is_file(f"{folder}/{clip_id}.mp4") for folder in folders)


def remove(store: Store, targets: Sequence[Target], reason: str | None = None) -> Takedown:
    """Take clips out of a dataset.

    A source video that a clip was cut from goes too, since it shows the clip. Where others were cut from it, their
    clips and frames stay; to cut them anew, with another profile, a run downloads the video again.

    Args:
        store: the dataset's part of the store.
        targets: from ``find_clips``.
        reason: for the ledger.

    Raises:
        ConfigError: there is no dataset.
        LeaseHeld: a run works on it.
        LeaseLost: somebody took it over; run again.
    """
    require_dataset(store)
    run_id = new_run_id(TAKEDOWN_RUN)
    shards: dict[int, list[Target]] = defaultdict(list)
    for target in targets:
        shards[target.shard].append(target)
    with hold(store, run_id) as lease:
        latest = read_snapshot(store) if latest_id(store) is not None else None
        _entomb(store, shards, BEGUN, reason, run_id)
        lease.check()
        if latest is not None:
            latest = _publish_without(store, latest, run_id)
        erased = _Erasure(store, lease, run_id)
        for shard, clips in sorted(shards.items()):
            erased.shard(shard, clips)
        reports = erased.reports(targets)
        lease.check()
        _entomb(store, shards, DONE, reason, run_id)
    ids = tuple(target.clip_id for target in targets)
    return Takedown(ids, latest.snapshot_id if latest else None, erased.videos, erased.frames, reports)


def _entomb(store: Store, shards: dict[int, list[Target]], outcome: str, reason: str | None, run_id: str) -> None:
    """Write the tombstones, or that they are true."""
    for shard, clips in shards.items():
        sources = sorted({clip.source_id for clip in clips if clip.with_source})
        for stage, keys in ((SOURCES, sources), (STAGE, [clip.clip_id for clip in clips])):
            with LedgerWriter(store, stage, shard, run_id) as ledger:
                for key in keys:
                    ledger.append(Entry(key, stage, ANY_RECIPE, outcome, Removed.kind, reason))


def _publish_without(store: Store, latest: Snapshot, run_id: str) -> Snapshot:
    """The latest snapshot without any clip that has a tombstone."""
    clips = without(latest.clips, removed_ids(store))
    snapshot = write_snapshot(store, clips, latest.classes, latest.made_by)
    point_latest_at(store, snapshot, run_id)
    return snapshot


def without(clips: pa.Table, clip_ids: Collection[str]) -> pa.Table:
    """A manifest in which the rows of these clips are failed, as an ingest writes it that meets their tombstones."""
    removed = pc.is_in(clips["clip_id"], pa.array(list(clip_ids), pa.string()))
    nonsense = pc.fill_null(pc.equal(clips["error_kind"], AnnotationError.kind), False)
    removed = pc.and_(removed, pc.invert(nonsense))
    values = {"status": "failed", "error_kind": Removed.kind, "error_message": MESSAGE}
    columns = []
    for field in MANIFEST:
        column = clips[field.name]
        if field.name in values or field.name not in _KEPT:
            column = pc.if_else(removed, pa.scalar(values.get(field.name), field.type), column)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=MANIFEST)


class _Erasure:
    """Erases what shows the clips of one shard after the other."""

    def __init__(self, store: Store, lease: Lease, run_id: str):
        self.store, self.lease, self.run_id = store, lease, run_id
        self.videos = self.frames = 0
        self._recipes = folders_in(store, "clips")
        self._parts = _parts_by_shard(store)
        self._sources = {file.path for file in files_in(store, "sources")}

    def shard(self, shard: int, clips: Sequence[Target]) -> None:
        """All of these clips, which are of this shard."""
        self.lease.check()
        ids = {clip.clip_id for clip in clips}
        videos = [f"clips/{recipe}/{clip_id}.mp4" for recipe in self._recipes for clip_id in ids]
        videos = [path for path in videos if self.store.is_file(path)]
        videos += self._source_videos(shard, clips)
        self._settle_accounts(shard, ids, set(videos))
        delete_files(self.store, videos, self.lease.check)
        self.videos += len(videos)
        self.frames += sum(in_threads(self.store, self._emptier(ids), self._parts.get(shard, ())))

    def reports(self, clips: Sequence[Target]) -> int:
        """Erase the pages of runs that show one of the clips; a page can be made again."""
        pages = [file.path for file in files_in(self.store, "runs") if file.name.endswith(".html")]
        ids = [clip.clip_id.encode() for clip in clips]
        showing = [path for path in pages if _contains(self.store.read_bytes(path), ids)]
        delete_files(self.store, showing, self.lease.check)
        return len(showing)

    def _source_videos(self, shard: int, clips: Sequence[Target]) -> list[str]:
        """What was downloaded for these clips, also where a kill kept it out of the ledger."""
        ids = {clip.clip_id for clip in clips}
        stems = ids | {safe_name(clip.source_id) for clip in clips}
        named = {entry["path"] for entry in self._entries(DOWNLOAD, shard) if entry["key"] in ids}
        alike = {path for path in self._sources if path.removeprefix("sources/").rpartition(".")[0] in stems}
        whole = {path for path in self._sources if path.removeprefix("sources/") in stems}  # without an extension
        return sorted((named | alike | whole) & self._sources)

    def _settle_accounts(self, shard: int, ids: set[str], gone: set[str]) -> None:
        """No entry says ok of what goes: the clips are removed, a shared source is to be downloaded again."""
        for stage in (DOWNLOAD, TRANSCODE, OF_FRAMES, AUGMENT):
            entries = [entry for entry in self._entries(stage, shard) if entry["outcome"] == "ok"]
            accounts = [_removed(entry, stage) for entry in entries if entry["key"] in ids]
            if stage == DOWNLOAD:
                shared = [entry for entry in entries if entry["path"] in gone and entry["key"] not in ids]
                accounts += [dropped(entry, stage) for entry in shared]
            with LedgerWriter(self.store, stage, shard, self.run_id) as ledger:
                for account in accounts:
                    ledger.append(account)

    def _entries(self, stage: str, shard: int) -> list[dict[str, Any]]:
        return last_entries(self.store, self.store.files(folder_of(stage, shard), ".parquet"))

    def _emptier(self, ids: set[str]) -> Callable[[str], int]:
        def empty(path: str) -> int:
            self.lease.check()
            return empty_rows(self.store, path, ids)

        return empty


def _removed(entry: dict[str, Any], stage: str) -> Entry:
    """The account that a clip's file of a stage was taken out; settled, so nobody makes it again."""
    return Entry(entry["key"], stage, entry["recipe"], "failed", Removed.kind, MESSAGE, finished_at=after(entry))


def _contains(page: bytes, ids: Sequence[bytes]) -> bool:
    return any(clip_id in page for clip_id in ids)


def empty_rows(store: Store, path: str, clip_ids: AbstractSet[str]) -> int:
    """Rewrite a part of frames without the pictures of these clips.

    Their row groups stay, empty, so that all others keep their numbers, and snapshots that name them stay readable.

    Returns:
        How many rows showed something; where none did, nothing is written.
    """
    if not store.is_file(path):
        return 0
    part = pq.ParquetFile(pa.BufferReader(store.read_bytes(path)))
    held = part.read(["clip_id"], use_threads=False)["clip_id"]
    if not pc.any(pc.is_in(held, pa.array(list(clip_ids), pa.string()))).as_py():
        return 0
    emptied, sink = 0, pa.BufferOutputStream()
    with pq.ParquetWriter(sink, FRAMES, compression="none", use_dictionary=False) as writer:
        for number in range(part.num_row_groups):
            group = part.read_row_group(number, use_threads=False).cast(FRAMES)
            rows = group.to_pylist() if clip_ids & set(group["clip_id"].to_pylist()) else []
            shown = [row for row in rows if row["clip_id"] in clip_ids and row["frames"]]
            if shown:
                emptied += len(shown)
                rows = [{**row, **_UNSHOWN} if row["clip_id"] in clip_ids else row for row in rows]
                group = pa.Table.from_pylist(rows, schema=FRAMES)
            writer.write_table(group, row_group_size=len(group))
    if emptied:
        store.write_bytes(path, sink.getvalue().to_pybytes())
    return emptied


def _parts_by_shard(store: Store) -> dict[int, list[str]]:
    """Every part of frames by the shard in its name, also those that neither a snapshot nor the ledger names."""
    by_shard: dict[int, list[str]] = defaultdict(list)
    for path in store.files_below("frames", ".parquet"):
        shard = path.rpartition("/")[2].partition("-")[0]
        if shard.isdecimal():
            by_shard[int(shard)].append(path)
    return by_shard
