"""A small dataset as an ingest leaves it: the real stages, ledger and publish, in this process, without Prefect and Ray.

Seven annotations of six videos: a clip each way that a clip can end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pyarrow as pa

from tests.conftest import number_bars
from vidclf.clips import ANNOTATIONS, Clip
from vidclf.config import IngestConfig, parse
from vidclf.creation import num_shards
from vidclf.errors import ClipError
from vidclf.ledger import Entry, LedgerWriter, compact, read_shard, scan
from vidclf.manifest import Standing, manifest, standing, variants_wanted
from vidclf.plan import Plan, make_plan
from vidclf.politeness import Gate
from vidclf.recipes import Recipes
from vidclf.snapshot import Snapshot, point_latest_at, register_classes, write_snapshot
from vidclf.stages import StageJob, augment, download, frames, transcode
from vidclf.storage import Store
from vidclf.takedown import removed_ids, removed_sources

SALSA, TANGO = "salsa dancing", "tango/dancing"
A, A_LATER, B, C, GONE, BROKEN, UNLABELLED = (
    "a_000000_000001", "a_000001_000002", "b_000000_000001", "-c_000000_000001",
    "gone_000000_000001", "broken_000000_000001", "unlabelled_000000_000001",
)  # fmt: skip
ANNOTATED: tuple[dict[str, Any], ...] = (
    {"source_id": "a", "label": SALSA, "split": "train", "time_start": 0.0, "time_end": 1.0},
    {"source_id": "a", "label": SALSA, "split": "train", "time_start": 1.0, "time_end": 2.0},
    {"source_id": "b", "label": TANGO, "split": "train", "time_start": 0.0, "time_end": 1.0},
    {"source_id": "b", "label": TANGO, "split": "train", "time_start": 0.0, "time_end": 1.0},  # again
    {"source_id": "-c", "label": TANGO, "split": "val", "time_start": 0.0, "time_end": 1.0},
    {"source_id": "gone", "label": SALSA, "split": "train", "time_start": 0.0, "time_end": 1.0},
    {"source_id": "broken", "label": SALSA, "split": "train", "time_start": 0.0, "time_end": 1.0},
    {"source_id": "unlabelled", "label": None, "split": "test", "time_start": 0.0, "time_end": 1.0},
)
OK = frozenset({A, A_LATER, B, C, UNLABELLED})
SETTINGS: dict[str, Any] = {
    "clips": {"short_side": 48, "preset": "ultrafast"},
    "frames": {"num_frames": 4, "side_size": 32},
    "augment": {"target_per_class": 3, "max_variants": 2},
}
OTHER = {**SETTINGS, "clips": {"short_side": 32, "preset": "ultrafast"}}  # another recipe of everything


def draw_videos(folder: Path) -> None:
    """The videos of ``ANNOTATED``, two seconds each; one is no video, one is not there."""
    folder.mkdir(parents=True)
    for number, name in enumerate(("a", "b", "-c", "unlabelled")):
        with av.open(str(folder / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for index in range(50):
                picture = number_bars((index + 50 * number) % 256)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    (folder / "broken.mp4").write_bytes(b"this is no video" * 1000)


class Ingest:
    """Ingests again and again into one dataset. ``done`` has what the last run did: stage → clip_ids."""

    def __init__(
        self, store: Store, videos: Path, annotated: Sequence[dict[str, Any]] = ANNOTATED, **settings: Any
    ) -> None:
        self.store, self.annotated = store, pa.Table.from_pylist(list(annotated), schema=ANNOTATIONS)
        values = {
            "dataset": "d",
            "annotations": {"path": "unused"},
            "sources": [{"kind": "folder", "path": str(videos)}],
        }
        self.config = parse(IngestConfig, {**values, **SETTINGS, **settings})
        self.recipes = Recipes.of(self.config)
        self.done: dict[str, list[str]] = defaultdict(list)
        self.run_id = "ingest"

    @property
    def plan(self) -> Plan:
        shards = num_shards(self.store, 2, len(self.annotated), create=True)
        return make_plan(self.annotated, shards, (), removed_ids(self.store), removed_sources(self.store))

    def standing(self) -> Standing:
        return standing(self.store, self.plan, self.recipes)

    def open_clips(self) -> set[str]:
        """The clips that a run would take up."""
        now = self.standing()
        rows = zip(
            *(now.plan.rows[name].to_pylist() for name in ("clip_id", "used")), now.settled.to_pylist(), strict=True
        )
        return {clip_id for clip_id, used, settled in rows if used and not settled}

    def run(self) -> Snapshot:
        """Work on what is open, and publish."""
        self.work()
        return self.publish()

    def work(self) -> None:
        """Everything but the publish: what a run leaves that is cut short."""
        self.done.clear()
        plan = self.plan
        for shard in self.standing().open_shards():
            clips = plan.shard(shard)
            self._download(shard, clips)
            self._transcode(shard, clips)
            self._frames(shard, clips)
        self._augment(plan)

    def publish(self) -> Snapshot:
        now = self.standing()
        shares = self._shares(now)
        variants = scan(self.store, augment.STAGE, self.recipes.augment)
        classes = register_classes(self.store, now.plan.labels)
        made_by = self.recipes.made_by(self.config)
        snapshot = write_snapshot(self.store, manifest(now, classes, shares, variants), classes, made_by)
        point_latest_at(self.store, snapshot, self.run_id)
        return snapshot

    def _download(self, shard: int, clips: dict[str, Clip]) -> None:
        made = read_shard(self.store, transcode.STAGE, shard, self.recipes.clips)
        there = read_shard(self.store, download.STAGE, shard, None)

        def is_open(clip_id: str) -> bool:
            if (entry := made.get(clip_id)) and entry.settled:
                return False
            fetched = there.get(clip_id)
            if fetched is None or not fetched.settled:
                return True
            return fetched.path is not None and not self.store.is_file(fetched.path)

        wanted = [clip for clip_id, clip in clips.items() if is_open(clip_id)]
        jobs = list(download.jobs_of(wanted, self.store, self.config.sources, Gate()))
        self._do(download.STAGE, shard, download.do, jobs)

    def _transcode(self, shard: int, clips: dict[str, Clip]) -> None:
        sources = read_shard(self.store, download.STAGE, shard, None)
        made = read_shard(self.store, transcode.STAGE, shard, self.recipes.clips)
        todo = [clip for clip_id, clip in clips.items() if not ((entry := made.get(clip_id)) and entry.settled)]
        jobs = list(transcode.jobs_of(todo, sources, self.store, self.recipes.clips, self.config.clips, timeout=60))
        self._do(transcode.STAGE, shard, transcode.do, jobs)

    def _frames(self, shard: int, clips: dict[str, Clip]) -> None:
        made = read_shard(self.store, transcode.STAGE, shard, self.recipes.clips)
        stored = read_shard(self.store, frames.STAGE, shard, self.recipes.frames)
        todo = {
            clip_id: entry.path
            for clip_id in sorted(clips)
            if (entry := made.get(clip_id)) and entry.ok and entry.path
            and not ((there := stored.get(clip_id)) and there.settled)
        }  # fmt: skip
        jobs = frames.jobs_of(todo, self.store, self.recipes.frames, shard, self.config.frames, part_size=32)
        self._do(frames.STAGE, shard, frames.do, list(jobs))

    def _augment(self, plan: Plan) -> None:
        if self.config.augment is None or self.recipes.augment is None:
            return
        shares = self._shares(self.standing())
        for shard in range(plan.num_shards):
            stored = read_shard(self.store, frames.STAGE, shard, self.recipes.frames)
            made = read_shard(self.store, augment.STAGE, shard, self.recipes.augment)
            todo = [
                augment.Share(clip_id, str(stored[clip_id].path), stored[clip_id].row or 0, shares[clip_id])
                for clip_id in sorted(plan.shard(shard))
                if clip_id in shares
                and not ((entry := made.get(clip_id)) and (entry.num_variants or 0) >= shares[clip_id])
            ]
            if todo:
                job = augment.Job(
                    store=self.store, keys=tuple(share.clip_id for share in todo), recipe=self.recipes.augment,
                    shard=shard, clips=tuple(todo), config=self.config.augment, quality=self.config.frames.quality,
                )  # fmt: skip
                self._do(augment.STAGE, shard, augment.do, [job])

    def _shares(self, now: Standing) -> dict[str, int]:
        if self.config.augment is None:
            return {}
        wanted = ((clip_id, label, split) for clip_id, _, label, split in variants_wanted(now))
        return augment.share_out(wanted, self.config.augment)

    def _do(self, stage: str, shard: int, do: Callable[[Any], list[Entry]], jobs: Sequence[StageJob]) -> None:
        with LedgerWriter(self.store, stage, shard, self.run_id) as ledger:
            for job in jobs:
                self.done[stage] += job.keys
                try:
                    entries = do(job)
                except ClipError as error:
                    entries = job.failed(stage, error)
                for entry in entries:
                    ledger.append(replace(entry, attempts=1))
        if jobs:
            compact(self.store, stage, shard, self.run_id)


class Killed(BaseException):
    """The process died here."""


class MortalStore(Store):
    """Dies at its ``lives``-th change and does nothing more: a run that was killed right there."""

    def __init__(self, uri: str, lives: int):
        super().__init__(uri)
        self.lives = lives

    def _live(self, path: str) -> None:
        if path == "lease.json":
            return  # renewed by the clock, not by the work
        self.lives -= 1
        if self.lives < 0:
            raise Killed

    def write_bytes(self, path: str, data: bytes) -> None:
        self._live(path)
        super().write_bytes(path, data)

    def delete(self, path: str) -> None:
        self._live(path)
        super().delete(path)

    def delete_folder(self, path: str) -> None:
        for file in [*self.files_below(path)]:
            self.delete(file)
        super().delete_folder(path)


def ledger_says_ok_of(store: Store) -> set[str]:
    """Paths of all files of clips and frames that the ledger calls ok, under any recipe."""
    from vidclf.maintenance.datasets import last_entries, shards_of

    return {
        entry["path"]
        for stage in (transcode.STAGE, frames.STAGE, augment.STAGE)
        for _, paths in shards_of(store, stage)
        for entry in last_entries(store, paths)
        if entry["outcome"] == "ok"
    }
