"""Transcode: one Ray task, and one ffmpeg process, per clip of a shard."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from tasks.settle import open_items, settle
from vidclf.ledger import read_shard
from vidclf.stages.download import STAGE as DOWNLOAD
from vidclf.stages.transcode import STAGE, do, jobs_of


@task(name="transcode", task_run_name="transcode shard {shard}", cache_policy=NO_CACHE)
def transcode_clips(run: IngestRun, shard: int) -> None:
    """Cut and encode the shard's clips whose video is there."""
    clips = run.plan.shard(shard)
    sources = read_shard(run.store, DOWNLOAD, shard, None)
    made = read_shard(run.store, STAGE, shard, run.recipes.clips)
    execution = run.config.execution

    todo = [clips[clip_id] for clip_id in open_items(run, made, clips, STAGE)]
    jobs = list(jobs_of(todo, sources, run.store, run.recipes.clips, run.config.clips, execution.transcode_timeout))
    board.expect(STAGE, len(jobs) - len(todo))  # a download that failed is the clip's account
    settle(run, STAGE, shard, do, jobs, execution.transcode_timeout)
    if not execution.keep_sources:
        made = read_shard(run.store, STAGE, shard, run.recipes.clips)
        open_clips = [clip_id for clip_id in clips if not run.is_settled(made.get(clip_id))]
        needed = {entry.path for clip_id in open_clips if (entry := sources.get(clip_id))}
        for path in {entry.path for clip_id in clips if (entry := sources.get(clip_id)) and entry.path} - needed:
            run.store.delete(path)
    run.budget.close(shard)
