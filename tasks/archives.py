"""Archives: sources whose clips lie in tars are read through before the shards, each tar once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.progress import board
from tasks.ray_names import SharedNames
from tasks.run import IngestRun
from tasks.settle import settle
from vidclf.config import fingerprint
from vidclf.errors import Gone, SourceError
from vidclf.ledger import Entry, read_shard
from vidclf.maintenance.files import delete_files, files_in
from vidclf.manifest import standing
from vidclf.sources.archives import Archive, ArchiveSource
from vidclf.stages.archive import STAGE, Job, do
from vidclf.stages.download import staged_path

SHARD = 0  # archives belong to no shard; their entries lie in this one's folder


@task(name="stage archives", cache_policy=NO_CACHE)
def stage_archives(run: IngestRun) -> None:
    """Put the clips that are still to be made, and whose video is not there, into the store, out of their archives.

    Nothing to do without such a source. An archive that was read for the same annotations is not read again, unless
    what came out of it is wanted once more and was not kept. What an earlier run staged and nobody needs goes.
    """
    for source in run.config.sources:
        if isinstance(source, ArchiveSource):
            needs = _needs(run, source)
            delete_files(run.store, needs.useless, run.lease.check)
            for split, clips in needs.missing.items():
                _stage(run, source, split, clips, needs.lost.get(split, set()))


@dataclass(frozen=True)
class _Needs:
    """What a run wants of the archives of one source."""

    missing: dict[str, dict[str, str | None]]  # split → clip_id → label, of the clips to stage
    lost: dict[str, set[str | None]]  # split → labels of those that this source delivered before
    useless: list[str]  # staged files that no clip waits for; where sources are kept, those that the ledger names stay


def _needs(run: IngestRun, source: ArchiveSource) -> _Needs:
    now = standing(run.store, run.plan, run.recipes, run.config.execution.retry)
    rows, downloads = run.plan.rows, now.download
    there = _stored(run)
    staged = pa.array([staged_path(clip_id) for clip_id in rows["clip_id"].to_pylist()], pa.string())
    is_staged = pc.is_in(staged, there)
    made = pc.fill_null(pc.equal(now.transcode["outcome"], "ok"), False)
    delivered = pc.fill_null(pc.equal(downloads["outcome"], "ok"), False)
    has_video = pc.and_(delivered, pc.is_in(downloads["path"], there))
    is_open = pc.and_(rows["used"], pc.invert(now.settled))
    wanted = pc.and_(is_open, pc.invert(pc.or_(made, has_video)))
    missing = pc.and_(wanted, pc.invert(is_staged))
    lost = pc.and_(missing, pc.and_(delivered, pc.fill_null(pc.equal(downloads["source"], source.kind), False)))
    waited_for = True if run.config.execution.keep_sources else pc.and_(is_open, pc.invert(made))
    named = downloads["path"].filter(pc.and_(delivered, waited_for)).combine_chunks()
    useless = pc.and_(pc.and_(rows["used"], is_staged), pc.invert(pc.or_(wanted, pc.is_in(staged, named))))
    columns = rows.select(["split", "clip_id", "label"])
    clips: dict[str, dict[str, str | None]] = {}
    for row in columns.filter(missing).to_pylist():
        clips.setdefault(row["split"], {})[row["clip_id"]] = row["label"]
    labels: dict[str, set[str | None]] = {}
    for row in columns.filter(lost).to_pylist():
        labels.setdefault(row["split"], set()).add(row["label"])
    return _Needs(clips, labels, staged.filter(useless.combine_chunks()).to_pylist())


def _stage(
    run: IngestRun, source: ArchiveSource, split: str, clips: Mapping[str, str | None], lost: set[str | None]
) -> None:
    """Read the archives of a split that may hold ``clips``; rank by rank, so that the first one that has a clip counts."""
    try:
        archives, again = _archives(source, split, set(clips.values()), lost)
    except SourceError as error:
        run.unread[split] = f"the list of archives: {error}"
        get_run_logger().warning("%s, %s: the archives cannot be listed: %s", source.kind, split, error)
        return
    of_split = run.plan.clips.filter(pc.equal(run.plan.clips["split"], split))["clip_id"]
    recipe = fingerprint([source.identity(), split, sorted(of_split.to_pylist())])
    done = read_shard(run.store, STAGE, SHARD, recipe)
    board.expect(STAGE, len(archives))
    wanted = set(clips)
    for number, (_, rank) in enumerate(groupby(archives, key=lambda archive: archive.rank)):
        if number:
            staged = set(_stored(run).to_pylist())
            wanted = {clip_id for clip_id in clips if staged_path(clip_id) not in staged}
        open_ones = [archive for archive in rank if archive.uri in again or not _is_settled(run, done.get(archive.uri))]
        if wanted and open_ones:
            timeout = run.config.execution.archive_timeout
            settle(run, STAGE, SHARD, do, _jobs(run, source, recipe, open_ones, wanted), timeout)
    read = read_shard(run.store, STAGE, SHARD, recipe)
    for archive in archives:
        entry = read.get(archive.uri)
        if entry is None or entry.run_id != run.run_id:
            board.advance(STAGE, failed=entry is not None and not entry.ok)
        if not _ended(entry):
            run.unread[split] = f"{archive.uri}: {entry.error_message if entry else 'not read'}"


def _archives(
    source: ArchiveSource, split: str, labels: set[str | None], lost: set[str | None]
) -> tuple[list[Archive], set[str]]:
    """The archives that may hold clips of these classes, by rank; and the URIs of those that are to be read once more."""

    def holding(wanted: set[str | None]) -> list[Archive]:
        return source.archives({split: {label for label in wanted if label}})

    archives = holding(labels)
    again = archives if lost == labels else holding(lost) if lost else []
    return sorted(archives, key=lambda archive: archive.rank), {archive.uri for archive in again}


def _jobs(
    run: IngestRun, source: ArchiveSource, recipe: str, archives: list[Archive], wanted: set[str]
) -> Iterator[Job]:
    names = SharedNames(wanted)
    for archive in archives:
        yield Job(
            store=run.store,
            keys=(archive.uri,),
            recipe=recipe,
            archive=archive,
            archives=source,
            wanted=names,
            gate=run.gate,
        )


def _is_settled(run: IngestRun, entry: Entry | None) -> bool:
    return _ended(entry) and run.is_settled(entry)


def _ended(entry: Entry | None) -> bool:
    """Whether an archive was read to its end, or is not there. One whose reader crashed may be whole the next time."""
    return entry is not None and (entry.ok or entry.error_kind == Gone.kind)


def _stored(run: IngestRun) -> pa.Array:
    """Paths of all videos that lie in the store now."""
    return pa.array([file.path for file in files_in(run.store, "sources") if not file.is_hidden], pa.string())
