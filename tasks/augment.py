"""Augment: variants, shared out once the whole count per class is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from tasks.settle import in_parts, settle_parts
from vidclf.errors import VidclfError
from vidclf.ledger import Entry, read_stage
from vidclf.stages.augment import STAGE, Job, Wanted, do, share_out
from vidclf.stages.frames import STAGE as FRAMES
from vidclf.stages.frames import part_id


class AugmentationFailed(VidclfError):
    """Some variants could not be made, so nothing is published."""

    kind = "augmentation"


@task(name="augment", cache_policy=NO_CACHE)
def augment_clips(run: IngestRun) -> None:
    """Make the variants that are missing. Nothing to do where the configuration asks for none.

    Raises:
        AugmentationFailed: some could not be made.
    """
    config = run.config.augment
    if config is None or run.augment_recipe is None:
        return
    recipe = run.augment_recipe
    stored = read_stage(run.store, FRAMES, run.frames_recipe)
    shares = shares_of(run, stored)
    made = read_stage(run.store, STAGE, recipe, shares)
    todo = [clip_id for clip_id, number in shares.items() if not has_enough(made.get(clip_id), number)]
    board.expect(STAGE, len(shares))
    board.advance(STAGE, len(shares) - len(todo))
    if not todo:
        return

    def jobs() -> Iterator[Job]:
        for ids in in_parts(todo, run.config.execution.part_size):
            wanted = tuple(Wanted(clip_id, *_where(stored[clip_id]), shares[clip_id]) for clip_id in ids)
            name = part_id(0, (f"{clip.clip_id}x{clip.num_variants}" for clip in wanted))
            yield Job(run.store, name, recipe, wanted, config, run.config.frames.quality)

    timeout = run.config.execution.transcode_timeout * 2
    settle_parts(run, STAGE, recipe, do, jobs(), timeout, single_clips, lambda job: job.clips[0].clip_id)
    made = read_stage(run.store, STAGE, recipe, shares)
    failed = [made.get(clip_id) for clip_id, number in shares.items() if not has_enough(made.get(clip_id), number)]
    if failed:  # a class that is not filled up would be another dataset, under a name of its own
        why = failed[0].error_message if failed[0] else "not done"
        raise AugmentationFailed(f"{len(failed)} clips have not got their variants ({why}); run again to make them")


def single_clips(job: Job) -> list[Job]:
    """A part, clip by clip."""
    return [replace(job, key=part_id(0, [f"{clip.clip_id}x{clip.num_variants}"]), clips=(clip,)) for clip in job.clips]


def shares_of(run: IngestRun, stored: dict[str, Entry]) -> dict[str, int]:
    """clip_id → how many variants it gets; a clip that is annotated twice counts once, with its first label."""
    if run.config.augment is None:
        return {}
    clips = (clip for shard in run.plan.shards.values() for clip in shard.items())
    kept = (
        (clip_id, annotation.label, annotation.split)
        for clip_id, annotation in clips
        if annotation.label is not None and clip_id in stored and stored[clip_id].ok
    )
    return share_out(kept, run.config.augment)


def has_enough(entry: Entry | None, number: int) -> bool:
    """Whether the variants that were made are as many as are wanted."""
    return entry is not None and entry.ok and (entry.num_variants or 0) >= number


def _where(entry: Entry) -> tuple[str, int]:
    assert entry.path is not None
    assert entry.row is not None
    return entry.path, entry.row
