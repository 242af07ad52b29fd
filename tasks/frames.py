"""Frames: one Ray task per part of a shard's clips."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from tasks.settle import open_items, settle
from vidclf.ledger import read_shard
from vidclf.stages.frames import STAGE, do, jobs_of
from vidclf.stages.transcode import STAGE as TRANSCODE


@task(name="frames", task_run_name="frames shard {shard}", cache_policy=NO_CACHE)
def store_frames(run: IngestRun, shard: int) -> None:
    """Store the frames of the shard's clips as Parquet parts."""
    clips = run.plan.shard(shard)
    made = read_shard(run.store, TRANSCODE, shard, run.recipes.clips)
    paths = {clip: entry.path for clip in sorted(clips) if (entry := made.get(clip)) and entry.ok and entry.path}
    board.expect(STAGE, len(paths) - len(clips))
    stored = read_shard(run.store, STAGE, shard, run.recipes.frames)
    execution = run.config.execution

    todo = {clip_id: paths[clip_id] for clip_id in open_items(run, stored, paths, STAGE)}
    jobs = jobs_of(todo, run.store, run.recipes.frames, shard, run.config.frames, execution.part_size)
    settle(run, STAGE, shard, do, jobs, execution.part_timeout)
