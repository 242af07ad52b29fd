"""Frames: one Ray task per part of a shard's clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from tasks.settle import in_parts, open_items, settle_parts
from vidclf.ledger import read_stage
from vidclf.stages.frames import STAGE, Job, do, part_id
from vidclf.stages.transcode import STAGE as TRANSCODE


@task(name="frames", task_run_name="frames shard {shard}", cache_policy=NO_CACHE)
def store_frames(run: IngestRun, shard: int) -> None:
    """Store the frames of the shard's clips as Parquet parts."""
    clips = run.plan.shards[shard]
    made = read_stage(run.store, TRANSCODE, run.clip_recipe, clips)
    paths = {clip_id: entry.path for clip_id, entry in sorted(made.items()) if entry.ok and entry.path}
    board.expect(STAGE, len(paths) - len(clips))
    stored = read_stage(run.store, STAGE, run.frames_recipe, paths)
    config = run.config

    def jobs() -> Iterator[Job]:
        for ids in in_parts(open_items(stored, paths, STAGE), config.execution.part_size):
            part = tuple((clip_id, paths[clip_id]) for clip_id in ids)
            yield Job(run.store, part_id(shard, ids), run.frames_recipe, part, config.frames)

    timeout = config.execution.transcode_timeout * 2

    def single_clips(job: Job) -> list[Job]:
        return [replace(job, key=part_id(shard, [clip[0]]), clips=(clip,)) for clip in job.clips]

    settle_parts(run, STAGE, run.frames_recipe, do, jobs(), timeout, single_clips, lambda job: job.clips[0][0])
