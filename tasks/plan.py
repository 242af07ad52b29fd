"""Plan: which annotations there are, which shard each clip belongs to, and which shards have something to do."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from vidclf.manifest import Standing, standing
from vidclf.planning import plan_of
from vidclf.stages.download import STAGE as DOWNLOAD
from vidclf.stages.frames import STAGE as FRAMES
from vidclf.stages.transcode import STAGE as TRANSCODE


@task(name="plan", cache_policy=NO_CACHE)
def plan_clips(run: IngestRun) -> list[int]:
    """Read the annotations, share their clips out over the dataset's shards, and see what is settled already.

    Returns:
        The numbers of the shards in which there is something to do.

    Raises:
        AnnotationError, ConfigError: see ``vidclf.planning.plan_of``.
    """
    run.plan = plan_of(run.config, run.store, create=True)
    log = get_run_logger()
    for notice in run.plan.notices:
        log.warning("%s", notice)
    now = standing(run.store, run.plan, run.recipes, run.config.execution.retry)
    shards = now.open_shards()
    _show(now, shards)
    log.info(
        "run %s: %d annotations, %d classes, %d clips, work in %d of %d shards",
        run.run_id, len(run.plan.rows), len(run.plan.labels), len(run.plan.clips), len(shards), run.plan.num_shards,
    )  # fmt: skip
    return shards


def _show(now: Standing, shards: list[int]) -> None:
    """Put what is coming on the board; the clips of shards without work are done there already."""
    rows = now.plan.rows
    used = rows["used"].combine_chunks()
    closed = pc.and_(used, pc.invert(pc.is_in(rows["shard"].combine_chunks(), pa.array(shards, pa.int32()))))
    for stage, entries in ((DOWNLOAD, now.download), (TRANSCODE, now.transcode), (FRAMES, now.frames)):
        settled = entries.filter(pc.and_(closed, pc.is_valid(entries["outcome"].combine_chunks())))
        failed = pc.sum(pc.equal(settled["outcome"], "failed")).as_py() or 0
        board.expect(stage, len(settled) + (pc.sum(used).as_py() or 0) - (pc.sum(closed).as_py() or 0))
        board.advance(stage, len(settled), failed)
