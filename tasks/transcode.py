"""Transcode: one Ray task, and one ffmpeg process, per clip of a shard."""

from __future__ import annotations

from collections.abc import Iterator

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from tasks.settle import open_items, settle_each
from vidclf.ledger import read_stage
from vidclf.stages.download import STAGE as DOWNLOAD
from vidclf.stages.transcode import STAGE, Job, do


@task(name="transcode", task_run_name="transcode shard {shard}", cache_policy=NO_CACHE)
def transcode_clips(run: IngestRun, shard: int) -> None:
    """Cut and encode the shard's clips whose video is there."""
    clips = run.plan.shards[shard]
    sources = read_stage(run.store, DOWNLOAD, None, {annotation.source_key for annotation in clips.values()})
    made = read_stage(run.store, STAGE, run.clip_recipe, clips)
    execution = run.config.execution

    def jobs() -> Iterator[Job]:
        for clip_id in open_items(made, clips, STAGE):
            annotation = clips[clip_id]
            source = sources.get(annotation.source_key)
            if source is None or source.path is None:
                board.expect(STAGE, -1)  # its download failed, which is its account
                continue
            times = (annotation.time_start, annotation.time_end)
            yield Job(
                run.store, clip_id, run.clip_recipe, source.path, *times, run.config.clips, execution.transcode_timeout
            )

    settle_each(run, STAGE, run.clip_recipe, do, jobs(), execution.transcode_timeout)
    if not execution.keep_sources:
        for source in sources.values():
            if source.path is not None:
                run.store.delete(source.path)
