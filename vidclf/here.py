"""An ingest in this process, for a folder of videos that fits on this machine: the flow's stages, without Prefect and Ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from vidclf.clips import Clip
from vidclf.config import IngestConfig
from vidclf.creation import open_dataset
from vidclf.errors import ClipError
from vidclf.lease import hold
from vidclf.ledger import Entry, LedgerWriter, compact, read_shard
from vidclf.manifest import manifest, standing
from vidclf.planning import plan_of
from vidclf.politeness import Gate
from vidclf.recipes import Recipes
from vidclf.snapshot import Snapshot, point_latest_at, register_classes, write_snapshot
from vidclf.stages import StageJob, download, frames, transcode
from vidclf.storage import Store

Told = Callable[[str], None]
Job = TypeVar("Job", bound=StageJob)


def ingest_here(config: IngestConfig, run_id: str, told: Told) -> Snapshot:
    """Do what is open of ``config``'s clips and publish a snapshot; what is settled is left alone.

    Args:
        config: without variants; of its ``execution`` only what shapes the result is used, and no retries.
        run_id: under which it is done.
        told: gets a sentence now and then.

    Raises:
        AnnotationError: the list makes no sense.
        ConfigError: the store cannot be written, or somebody else works on the dataset.
    """
    store = open_dataset(config)
    with hold(store, run_id) as lease:
        recipes = Recipes.of(config)
        plan = plan_of(config, store, create=True)
        for notice in plan.notices:
            told(notice)
        for shard in standing(store, plan, recipes).open_shards():
            _Shard(store, config, recipes, run_id, shard, plan.shard(shard), told).work()
            lease.check()
        classes = register_classes(store, plan.labels)
        clips = manifest(standing(store, plan, recipes), classes, {})
        snapshot = write_snapshot(store, clips, classes, recipes.made_by(config))
        lease.check()
        point_latest_at(store, snapshot, run_id)
    return snapshot


class _Shard:
    """The clips of one shard on their way through the stages."""

    def __init__(
        self,
        store: Store,
        config: IngestConfig,
        recipes: Recipes,
        run_id: str,
        number: int,
        clips: dict[str, Clip],
        told: Told,
    ):
        self._store, self._config, self._recipes, self._run_id = store, config, recipes, run_id
        self._number, self._clips, self._told = number, clips, told

    def work(self) -> None:
        self._do(download.STAGE, download.do, self._downloads())
        self._do(transcode.STAGE, transcode.do, self._cuts())
        self._forget_copies()
        self._do(frames.STAGE, frames.do, self._parts())

    def _downloads(self) -> Iterable[download.Job]:
        made, there = self._ledger(transcode.STAGE, self._recipes.clips), self._ledger(download.STAGE, None)
        wanted = [
            clip
            for clip_id, clip in self._clips.items()
            if not _is_settled(made.get(clip_id)) and not self._is_there(there.get(clip_id))
        ]
        return download.jobs_of(wanted, self._store, self._config.sources, Gate())

    def _cuts(self) -> Iterable[transcode.Job]:
        fetched = self._ledger(download.STAGE, None)
        made = self._ledger(transcode.STAGE, self._recipes.clips)
        todo = [clip for clip_id, clip in self._clips.items() if not _is_settled(made.get(clip_id))]
        profile, timeout = self._config.clips, self._config.execution.transcode_timeout
        return transcode.jobs_of(todo, fetched, self._store, self._recipes.clips, profile, timeout)

    def _parts(self) -> Iterable[frames.Job]:
        made = self._ledger(transcode.STAGE, self._recipes.clips)
        stored = self._ledger(frames.STAGE, self._recipes.frames)
        todo = {
            clip_id: entry.path
            for clip_id in sorted(self._clips)
            if (entry := made.get(clip_id)) and entry.ok and entry.path and not _is_settled(stored.get(clip_id))
        }
        config = self._config
        return frames.jobs_of(
            todo, self._store, self._recipes.frames, self._number, config.frames, config.execution.part_size
        )

    def _do(self, stage: str, do: Callable[[Job], list[Entry]], jobs: Iterable[Job]) -> None:
        todo = list(jobs)
        if not todo:
            return
        self._told(f"{stage}: {sum(len(job.keys) for job in todo)} clips")
        with (
            LedgerWriter(self._store, stage, self._number, self._run_id) as ledger,
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        ):
            for entries in pool.map(lambda job: _settled(stage, do, job), todo):
                for entry in entries:
                    ledger.append(replace(entry, attempts=1))
        compact(self._store, stage, self._number, self._run_id)

    def _forget_copies(self) -> None:
        """The folder has the videos; the store needs no copies of them."""
        for path in {entry.path for entry in self._ledger(download.STAGE, None).values() if entry.path}:
            self._store.delete(path)

    def _is_there(self, entry: Entry | None) -> bool:
        if entry is None or entry.recipe != self._recipes.download:
            return False
        return entry.settled and (not entry.ok or (entry.path is not None and self._store.is_file(entry.path)))

    def _ledger(self, stage: str, recipe: str | None) -> dict[str, Entry]:
        return read_shard(self._store, stage, self._number, recipe)


def _settled(stage: str, do: Callable[[Any], list[Entry]], job: StageJob) -> list[Entry]:
    try:
        return do(job)
    except ClipError as error:
        return job.failed(stage, error)


def _is_settled(entry: Entry | None) -> bool:
    return entry is not None and entry.settled
