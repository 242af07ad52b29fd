"""Plan: which annotations there are, and which shard each clip belongs to."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun, Plan
from vidclf.annotations import read_annotations
from vidclf.clips import Annotation, shard_of


@task(name="plan", cache_policy=NO_CACHE)
def plan_clips(run: IngestRun) -> list[int]:
    """Read the annotations and share their clips out over the dataset's shards; the numbers of those that have any.

    Raises:
        AnnotationError: see ``vidclf.annotations.read_annotations``.
    """
    annotations = read_annotations(run.config.annotations)
    num_shards = run.fix_num_shards(len(annotations))
    shards: dict[int, dict[str, Annotation]] = {}
    for annotation in annotations:
        if annotation.problem is None:
            clips = shards.setdefault(shard_of(annotation.source_id, num_shards), {})
            clips.setdefault(annotation.clip_id, annotation)
    run.plan = Plan(annotations, shards)
    clips_in_all = sum(len(clips) for clips in shards.values())
    sources = sum(len({annotation.source_key for annotation in clips.values()}) for clips in shards.values())
    board.expect("download", sources)
    board.expect("transcode", clips_in_all)
    board.expect("frames", clips_in_all)
    labels = {annotation.label for annotation in annotations if annotation.label}
    get_run_logger().info(
        "run %s: %d annotations, %d classes, %d clips of %d videos in %d shards",
        run.run_id, len(annotations), len(labels), clips_in_all, sources, len(shards),
    )  # fmt: skip
    return sorted(shards)
