"""Download: one Ray task per source video of a shard."""

from __future__ import annotations

from collections.abc import Iterator

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.run import IngestRun
from tasks.settle import open_items, settle_each
from vidclf.ledger import Entry, read_stage
from vidclf.stages.download import STAGE, Job, do
from vidclf.stages.transcode import STAGE as TRANSCODE


@task(name="download", task_run_name="download shard {shard}", cache_policy=NO_CACHE)
def download_videos(run: IngestRun, shard: int) -> None:
    """Fetch the shard's source videos that are still needed into the store."""
    clips = run.plan.shards[shard]
    made = read_stage(run.store, TRANSCODE, run.clip_recipe, clips)
    needed = {
        annotation.source_key: annotation.source_id
        for clip_id, annotation in clips.items()
        if clip_id not in made or not made[clip_id].settled
    }
    everything = {annotation.source_key: annotation.source_id for annotation in clips.values()}
    fetched = read_stage(run.store, STAGE, None, everything)
    reopened = {key for key in needed if _is_reopened(run, fetched.get(key))}

    def jobs() -> Iterator[Job]:
        known = {key: entry for key, entry in fetched.items() if key not in reopened}
        known |= {
            key: Entry(key, STAGE, run.download_recipe) for key in everything if key not in needed and key not in known
        }
        for key in open_items(known, everything, STAGE):
            yield Job(run.store, key, run.download_recipe, everything[key], run.config.sources)

    settle_each(run, STAGE, run.download_recipe, do, jobs(), run.config.execution.download_timeout)


def _is_reopened(run: IngestRun, entry: Entry | None) -> bool:
    """Whether a video is asked for again: other sources failed to deliver it, or it was delivered and not kept."""
    if entry is None:
        return False
    if not entry.ok:
        return entry.recipe != run.download_recipe
    return entry.path is not None and not run.store.exists(entry.path)
