"""Augment: variants, shared out once the whole count per class is known, then made shard by shard."""

from __future__ import annotations

from collections.abc import Iterator

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from tasks.settle import settle
from vidclf.clips import shard_of
from vidclf.ledger import Entry, read_shard, scan
from vidclf.manifest import standing, variants_wanted, varied
from vidclf.stages import in_parts
from vidclf.stages.augment import STAGE, Job, Share, do, share_out
from vidclf.stages.frames import STAGE as FRAMES


@task(name="share out variants", cache_policy=NO_CACHE)
def share_out_variants(run: IngestRun) -> list[int]:
    """How many variants each clip is to have, and the shards in which some are missing; none without ``augment``."""
    config, recipe = run.config.augment, run.recipes.augment
    if config is None or recipe is None:
        return []
    wanted = variants_wanted(standing(run.store, run.plan, run.recipes))
    run.shares = share_out(((clip_id, label, split) for clip_id, _, label, split in wanted), config)
    entries = scan(run.store, STAGE, recipe, ("error_kind", "num_variants", "outcome"))
    made = varied(entries, run.shares, run.config.execution.retry)
    board.expect(STAGE, len(run.shares))
    missing = run.shares.keys() - made
    shards = {shard_of(source, run.plan.num_shards) for clip, source, _, _ in wanted if clip in missing}
    kept = (
        clip for clip, source, _, _ in wanted if clip in made and shard_of(source, run.plan.num_shards) not in shards
    )
    board.advance(STAGE, sum(1 for _ in kept))
    return sorted(shards)


@task(name="augment", task_run_name="augment shard {shard}", cache_policy=NO_CACHE)
def augment_clips(run: IngestRun, shard: int) -> None:
    """Make the variants that the shard's clips still miss."""
    config, recipe = run.config.augment, run.recipes.augment
    assert config is not None
    assert recipe is not None
    shares = {clip_id: run.shares[clip_id] for clip_id in sorted(run.plan.shard(shard)) if clip_id in run.shares}
    stored = read_shard(run.store, FRAMES, shard, run.recipes.frames)
    made = read_shard(run.store, STAGE, shard, recipe)
    todo = [clip_id for clip_id, number in shares.items() if not _has_enough(run, made.get(clip_id), number)]
    board.advance(STAGE, len(shares) - len(todo))

    def jobs() -> Iterator[Job]:
        for ids in in_parts(todo, run.config.execution.part_size):
            clips = tuple(_share(stored[clip_id], shares[clip_id]) for clip_id in ids)
            yield Job(
                store=run.store,
                keys=ids,
                recipe=recipe,
                shard=shard,
                clips=clips,
                config=config,
                quality=run.config.frames.quality,
            )

    settle(run, STAGE, shard, do, jobs(), run.config.execution.part_timeout)


def _has_enough(run: IngestRun, entry: Entry | None, number: int) -> bool:
    """Whether the variants that were made are as many as are wanted, or none can be made."""
    return entry is not None and run.is_settled(entry) and (not entry.ok or (entry.num_variants or 0) >= number)


def _share(stored: Entry, number: int) -> Share:
    assert stored.path is not None
    assert stored.row is not None
    return Share(stored.key, stored.path, stored.row, number)
