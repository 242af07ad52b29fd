"""Download: one Ray task per source video of a shard."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from tasks.settle import open_items, settle
from vidclf.ledger import Entry, read_shard
from vidclf.stages.download import STAGE, do, jobs_of
from vidclf.stages.transcode import STAGE as TRANSCODE


@task(name="download", task_run_name="download shard {shard}", cache_policy=NO_CACHE)
def download_videos(run: IngestRun, shard: int) -> None:
    """Fetch what the shard's clips still need into the store."""
    clips = run.plan.shard(shard)
    made = read_shard(run.store, TRANSCODE, shard, run.recipes.clips)
    needed = [clip_id for clip_id in clips if not run.is_settled(made.get(clip_id))]
    board.advance(STAGE, len(clips) - len(needed))
    fetched = read_shard(run.store, STAGE, shard, None)
    there = {clip_id: entry for clip_id in needed if (entry := fetched.get(clip_id)) and not _is_reopened(run, entry)}
    wanted = (clips[clip_id] for clip_id in open_items(run, there, needed, STAGE))
    jobs = jobs_of(wanted, run.store, run.config.sources, run.gate, run.unread)
    purse = run.budget.open(shard, there.values())
    timeout = run.config.execution.download_timeout
    settle(run, STAGE, shard, do, jobs, timeout, held=purse.is_empty, on_entries=purse.pay)


def _is_reopened(run: IngestRun, entry: Entry) -> bool:
    """Whether a clip is asked for again: other sources failed to deliver it, or it was delivered and not kept."""
    if not entry.ok:
        return entry.recipe != run.recipes.download
    return entry.path is not None and entry.path not in run.sources
