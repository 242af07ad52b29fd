"""Garbage collection: what no kept snapshot names is removed.

What was made since the last publish is kept, since a run that was cut short goes on from there.

Kill it anywhere: old snapshots go first, so that none is left that names a missing file; then the ledger says that the
files are dropped, so that none is called ok that is not there; then the files go.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc

from vidclf.errors import ConfigError, is_settled
from vidclf.lease import Lease, hold
from vidclf.ledger import DROPPED, LedgerWriter, compact, stages
from vidclf.maintenance.datasets import (
    Published,
    dropped,
    last_entries,
    last_words,
    published,
    require_dataset,
    shards_of,
    whole_snapshots,
)
from vidclf.maintenance.files import StoredFile, Tally, delete_files, files_in, folders_in
from vidclf.runs import new_run_id
from vidclf.stages.archive import STAGE as ARCHIVE
from vidclf.stages.augment import STAGE as AUGMENT
from vidclf.stages.download import STAGE as DOWNLOAD
from vidclf.stages.download import staged_path
from vidclf.stages.frames import STAGE as FRAMES
from vidclf.stages.transcode import STAGE as TRANSCODE
from vidclf.storage import Store
from vidclf.takedown import removed_ids

TEMPORARY_AGE = 3600.0  # seconds; a younger temporary file may be somebody's who takes no lease
_NAMING = ["clip_id", "status", "clip_path", "frames_path", "variants_path"]


@dataclass
class Collected:
    """What was removed, or would be."""

    dry_run: bool
    kept_snapshots: list[str]  # newest first
    removed_snapshots: list[str]
    removed: dict[str, Tally] = field(default_factory=dict)  # by kind of file
    unpublished: Tally = field(default_factory=Tally)  # kept: made since the last publish
    entries_dropped: int = 0
    ledger_files_merged: int = 0

    def count(self, kind: str, file: StoredFile) -> None:
        self.removed.setdefault(kind, Tally()).add(file)

    @property
    def total(self) -> Tally:
        tallies = list(self.removed.values())
        return Tally(sum(tally.files for tally in tallies), sum(tally.bytes for tally in tallies))


def collect(
    store: Store, *, keep: int = 2, sources: bool = False, unpublished: bool = False, dry_run: bool = False
) -> Collected:
    """Remove what no kept snapshot of a dataset names, and merge its ledger's files.

    Args:
        store: the dataset's part of the store.
        keep: so many snapshots stay, the latest and those published before it.
        sources: remove also the source videos of which every clip is transcoded, under whatever recipe.
        unpublished: remove also what was made since the last publish; a run that was cut short begins anew.
        dry_run: change nothing, and take no lease.

    Raises:
        ConfigError: there is no dataset, or ``keep`` is less than 1.
        LeaseHeld: a run works on it.
        LeaseLost: somebody took it over; run again.
    """
    require_dataset(store)
    if keep < 1:
        raise ConfigError(f"keep is {keep}: the latest snapshot always stays, so it is at least 1")
    run_id = new_run_id("gc")
    with contextlib.nullcontext() if dry_run else hold(store, run_id) as lease:
        return _Collection(store, run_id, lease, published(store), keep, sources, unpublished).run()


class _Collection:
    """One collection at work. Without a lease it only looks."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        lease: Lease | None,
        events: list[Published],
        keep: int,
        sources: bool,
        unpublished: bool,
    ):
        self.store, self.run_id, self.lease, self.sources = store, run_id, lease, sources
        there = folders_in(store, "snapshots")
        whole = set(whole_snapshots(store))
        in_order = dict.fromkeys(event.snapshot_id for event in events)
        kept = [name for name in in_order if name in whole][:keep]
        self.found = Collected(lease is None, kept, [name for name in there if name not in kept])
        self.taken_out = set(removed_ids(store))
        self.named = set(_named_files(store, kept, self.taken_out))
        self.spared: set[str] = set()  # files of work that no snapshot has seen yet
        self.unneeded: set[str] = set()  # source videos
        self.since = datetime.max.replace(tzinfo=UTC) if unpublished else _last_ingest(events)

    def run(self) -> Collected:
        self._remove_old_snapshots()
        self._settle_accounts()
        waste = self._waste()
        if self.lease is not None:
            delete_files(self.store, (file.path for file in waste), self.lease.check)
            self._merge_ledger()
        else:
            for _ in waste:
                pass
        return self.found

    def _remove_old_snapshots(self) -> None:
        for name in self.found.removed_snapshots:
            for file in files_in(self.store, f"snapshots/{name}"):
                self.found.count("snapshots", file)
            if self.lease is not None:
                self.lease.check()
                self.store.delete(f"snapshots/{name}/stats.json")  # it stands for the whole
                self.store.delete_folder(f"snapshots/{name}")

    def _settle_accounts(self) -> None:
        """Write into the ledger what goes, and see what is spared."""
        archives = _Archives(self.store)
        for stage in (AUGMENT, FRAMES, TRANSCODE):
            for shard, paths in shards_of(self.store, stage):
                gone = self._going(last_entries(self.store, paths))
                if stage == TRANSCODE:
                    archives.note(shard, gone)
                self._drop(stage, shard, gone)
        if self.sources:
            for shard, unneeded in self._unneeded_sources():
                archives.note(shard, unneeded)
                self.unneeded |= {entry["path"] for entry in unneeded}
                self._drop(DOWNLOAD, shard, [entry for entry in unneeded if entry["outcome"] == "ok"])
        self._drop(ARCHIVE, _Archives.SHARD, archives.to_read_again())

    def _going(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of a shard's entries, those whose files go; the files of the unpublished ones are spared, with all in them."""
        loose = [entry for entry in entries if entry["outcome"] == "ok" and entry["path"] not in self.named]
        self.spared |= {
            entry["path"]
            for entry in loose
            if entry["finished_at"] >= self.since and entry["key"] not in self.taken_out
        }
        return [entry for entry in loose if entry["path"] not in self.spared]

    def _unneeded_sources(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """(shard, last download entries) of the source videos that no clip waits for.

        Also those of an earlier collection that was killed. What no entry names may wait for its download stage.
        """
        transcoded = dict(shards_of(self.store, TRANSCODE))
        for shard, paths in shards_of(self.store, DOWNLOAD):
            made = last_entries(self.store, transcoded.get(shard, []))
            done = {entry["key"] for entry in made if _is_done(entry) and not self._goes(entry)} | self.taken_out
            there = [entry for entry in last_words(last_entries(self.store, paths)).values() if entry["path"]]
            needed = {entry["path"] for entry in there if entry["key"] not in done}
            # Clips that were staged out of an archive, and then came from elsewhere: no entry names the file.
            self.unneeded |= {staged_path(key) for key in done} - needed
            yield shard, [entry for entry in there if entry["path"] not in needed]

    def _goes(self, entry: dict[str, Any]) -> bool:
        return entry["outcome"] == "ok" and entry["path"] not in self.named and entry["path"] not in self.spared

    def _drop(self, stage: str, shard: int, entries: list[dict[str, Any]]) -> None:
        self.found.entries_dropped += len(entries)
        if self.lease is None or not entries:
            return
        self.lease.check()
        with LedgerWriter(self.store, stage, shard, self.run_id) as ledger:
            for entry in entries:
                ledger.append(dropped(entry, stage))

    def _waste(self) -> Iterator[StoredFile]:
        """The files to delete, and the count of them."""
        old = time.time() - TEMPORARY_AGE
        folders = ("",) if self.store.is_local else ("clips", "frames", "sources")  # temporary files are local
        for folder in folders:
            for file in files_in(self.store, folder):
                kind = file.path.partition("/")[0]
                if file.is_hidden:
                    if not file.is_temporary or file.modified > old:
                        continue
                    kind = "temporary files"
                elif kind in ("clips", "frames"):
                    if file.path in self.spared:
                        self.found.unpublished.add(file)
                    if file.path in self.spared or file.path in self.named:
                        continue
                elif file.path not in self.unneeded:
                    continue
                self.found.count(kind, file)
                yield file

    def _merge_ledger(self) -> None:
        assert self.lease is not None
        for stage in stages(self.store):
            for shard, paths in shards_of(self.store, stage):
                if len(paths) > 1:
                    self.lease.check()
                    compact(self.store, stage, shard, self.run_id)
                    self.found.ledger_files_merged += len(paths)


class _Archives:
    """Tars whose clips go: they are to be read again where one of the clips is wanted again."""

    SHARD = 0  # of all archives

    def __init__(self, store: Store):
        self.store = store
        paths = dict(shards_of(store, ARCHIVE)).get(self.SHARD, [])
        self.read = [entry for entry in last_entries(store, paths) if entry["outcome"] == "ok"]
        self.kinds = {entry["source"] for entry in self.read}
        self.losing: set[str] = set()  # kinds of source
        self.downloads = dict(shards_of(store, DOWNLOAD)) if self.read else {}

    def note(self, shard: int, going: Iterable[dict[str, Any]]) -> None:
        """Entries of the stages download or transcode whose files go."""
        keys = {entry["key"] for entry in going}
        if self.kinds <= self.losing or not keys:
            return
        came_from = last_words(last_entries(self.store, self.downloads.get(shard, [])))
        self.losing |= {came_from[key]["source"] for key in keys & came_from.keys()} & self.kinds

    def to_read_again(self) -> list[dict[str, Any]]:
        return [entry for entry in self.read if entry["source"] in self.losing]


def _named_files(store: Store, snapshots: Iterable[str], taken_out: set[str]) -> Iterator[str]:
    """Paths that the snapshots name. A failed row stands for its clip, which may be there although its frames failed."""
    for name in snapshots:
        rows = store.read_table(f"snapshots/{name}/clips.parquet", _NAMING)
        recipe = store.read_json(f"snapshots/{name}/made_by.json")["recipes"]["clips"]
        for column in ("frames_path", "variants_path"):
            yield from pc.unique(rows[column].drop_null()).to_pylist()
        columns = (rows[column].to_pylist() for column in ("clip_id", "clip_path"))
        for clip_id, path in zip(*columns, strict=True):
            if clip_id not in taken_out:
                yield path or f"clips/{recipe}/{clip_id}.mp4"


def _last_ingest(events: list[Published]) -> datetime:
    """When a run last published; what was done since, no snapshot has seen. A takedown publishes no work."""
    for event in events:
        if not event.by_takedown:
            return event.published_at
    return datetime.min.replace(tzinfo=UTC)


def _is_done(entry: dict[str, Any]) -> bool:
    return entry["outcome"] != DROPPED and is_settled(entry["error_kind"])
