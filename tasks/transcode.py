"""Transcode: one Ray task, and one ffmpeg process, per clip of a shard."""

from __future__ import annotations

from collections.abc import Iterator

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from tasks.settle import open_items, settle
from vidclf.ledger import read_shard
from vidclf.stages.download import STAGE as DOWNLOAD
from vidclf.stages.transcode import STAGE, Job, do


@task(name="transcode", task_run_name="transcode shard {shard}", cache_policy=NO_CACHE)
def transcode_clips(run: IngestRun, shard: int) -> None:
    """Cut and encode the shard's clips whose video is there."""
    clips = run.plan.shard(shard)
    sources = read_shard(run.store, DOWNLOAD, shard, None)
    made = read_shard(run.store, STAGE, shard, run.recipes.clips)
    execution = run.config.execution

    def jobs() -> Iterator[Job]:
        for clip_id in open_items(run, made, clips, STAGE):
            clip, source = clips[clip_id], sources.get(clip_id)
            if source is None or not source.ok or source.path is None:
                board.expect(STAGE, -1)  # its download failed, which is its account
                continue
            yield Job(
                store=run.store,
                keys=(clip_id,),
                recipe=run.recipes.clips,
                source_path=source.path,
                begins_at=source.begins_at or 0.0,
                time_start=clip.time_start,
                time_end=clip.time_end,
                profile=run.config.clips,
                timeout=execution.transcode_timeout,
            )

    settle(run, STAGE, shard, do, jobs(), execution.transcode_timeout)
    if not execution.keep_sources:
        made = read_shard(run.store, STAGE, shard, run.recipes.clips)
        open_clips = [clip_id for clip_id in clips if not run.is_settled(made.get(clip_id))]
        needed = {entry.path for clip_id in open_clips if (entry := sources.get(clip_id))}
        for path in {entry.path for clip_id in clips if (entry := sources.get(clip_id)) and entry.path} - needed:
            run.store.delete(path)
    run.budget.close(shard)
