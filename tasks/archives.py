"""Archives: sources whose clips lie in tars are read through before the shards, each tar once."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.compute as pc
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.run import IngestRun
from tasks.settle import settle
from vidclf.config import fingerprint
from vidclf.errors import SourceError
from vidclf.ledger import read_shard
from vidclf.manifest import standing
from vidclf.sources.archives import Archive, ArchiveSource
from vidclf.stages.archive import STAGE, Job, do

SHARD = 0  # archives belong to no shard; their entries lie in this one's folder


@task(name="stage archives", cache_policy=NO_CACHE)
def stage_archives(run: IngestRun) -> None:
    """Put the clips that are still to be made into the store, out of the archives that may hold them.

    Nothing to do without such a source. An archive that was read for the same annotations is not read again.
    """
    for source in run.config.sources:
        if isinstance(source, ArchiveSource):
            _stage(run, source)


def _stage(run: IngestRun, source: ArchiveSource) -> None:
    wanted = _open_clips(run)
    if not wanted:
        return
    execution = run.config.execution
    used_up_by = None if execution.keep_sources else run.recipes.clips  # another profile needs the staged files again
    clip_ids = sorted(run.plan.clips["clip_id"].to_pylist())
    recipe = fingerprint([source.model_dump(mode="json"), clip_ids, execution.retry, used_up_by])
    archives: list[Archive] = []
    for split, clips in wanted.items():
        labels = {label for label in clips.values() if label}
        try:
            archives += source.archives({split: labels})
        except SourceError as error:
            run.unread[split] = f"the list of archives: {error}"
            get_run_logger().warning("%s, %s: the archives cannot be listed: %s", source.kind, split, error)
    done = read_shard(run.store, STAGE, SHARD, recipe)
    board.expect(STAGE, len(archives))

    def jobs() -> Iterator[Job]:
        for archive in archives:
            entry = done.get(archive.uri)
            if entry is not None and entry.settled:
                board.advance(STAGE, failed=not entry.ok)
                continue
            names = frozenset(wanted[archive.split])
            yield Job(
                store=run.store,
                keys=(archive.uri,),
                recipe=recipe,
                archive=archive,
                archives=source,
                wanted=names,
                gate=run.gate,
            )

    settle(run, STAGE, SHARD, do, jobs(), run.config.execution.archive_timeout)
    read = read_shard(run.store, STAGE, SHARD, recipe)
    for archive in archives:
        entry = read.get(archive.uri)
        if entry is None or not entry.ok:
            run.unread[archive.split] = f"{archive.uri}: {entry.error_message if entry else 'not read'}"


def _open_clips(run: IngestRun) -> dict[str, dict[str, str | None]]:
    """split → clip_id → label, of the clips that are still to be made."""
    now = standing(run.store, run.plan, run.recipes, run.config.execution.retry)
    rows = run.plan.rows.filter(pc.and_(run.plan.rows["used"], pc.invert(now.settled)))
    found: dict[str, dict[str, str | None]] = {}
    for clip, label, split in zip(*(rows[name].to_pylist() for name in ("clip_id", "label", "split")), strict=True):
        found.setdefault(split, {})[clip] = label
    return found
