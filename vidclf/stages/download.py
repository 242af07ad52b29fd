"""Download: what is wanted of a source video, from the first source that has it, into the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from vidclf.clips import Clip, safe_name
from vidclf.config import fingerprint
from vidclf.errors import Blocked, Postponed, SourceError, Unreachable
from vidclf.ledger import Entry
from vidclf.politeness import Gatekeeper
from vidclf.scratch import exhausted, scratch_folder
from vidclf.sources import Fetched, Source, Wanted
from vidclf.sources.archives import ArchiveSource
from vidclf.stages import StageJob, as_far_as_it_goes
from vidclf.storage import Store

STAGE = "download"


@dataclass(frozen=True, kw_only=True)
class Job(StageJob):
    """The clips of one unit: what one source delivers of them, it delivers of all."""

    wanted: tuple[Wanted, ...]
    sources: tuple[Source, ...]
    gate: Gatekeeper
    failures: tuple[SourceError, ...] = ()  # of the sources that were asked already, the first ones
    unread: str | None = None  # why not all archives of the clips' split could be read

    @property
    def source(self) -> str:
        return ", ".join(source.kind for source in self.sources)

    def rest(self, done: Collection[str]) -> list[Job]:
        return [replace(self, keys=(clip.clip_id,), wanted=(clip,)) for clip in self.wanted if clip.clip_id not in done]


def recipe_of(sources: Sequence[Source]) -> str:
    """Which sources were asked: what one list could not deliver, another may. What was delivered stays delivered."""
    return fingerprint([source.identity() for source in sources])


def in_units(wanted: Iterable[Wanted], sources: Sequence[Source]) -> Iterator[tuple[Wanted, ...]]:
    """Clips that share the fetch of every source, together."""
    units: dict[tuple[str, ...], list[Wanted]] = {}
    for clip in wanted:
        units.setdefault(tuple(source.unit(clip) for source in sources), []).append(clip)
    return map(tuple, units.values())


def jobs_of(
    clips: Iterable[Clip],
    store: Store,
    sources: tuple[Source, ...],
    gate: Gatekeeper,
    unread: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Job]:
    """One job per unit of the clips.

    Args:
        store: of the dataset.
        unread: split → why not all archives of it could be read.
    """
    recipe = recipe_of(sources)
    for unit in in_units(map(Wanted.of, clips), sources):
        yield Job(
            store=store,
            keys=tuple(wanted.clip_id for wanted in unit),
            recipe=recipe,
            wanted=unit,
            sources=sources,
            gate=gate,
            unread=unread.get(unit[0].split),
        )


def staged_path(clip_id: str) -> str:
    """Where a clip out of an archive waits for its download stage."""
    return f"sources/{clip_id}.mp4"


def do(job: Job) -> list[Entry]:
    """Try the sources in order; the first that delivers wins.

    Returns:
        One entry per clip. Where a source delivers sections one by one, and fails or has to wait after the first ones, of
        those alone: they are kept, whatever becomes of the rest.

    Raises:
        SourceError: none delivered. An error that may pass counts more than a permanent one, since it leaves hope.
        Postponed: a source's turn has not come.
        StorageError: the store failed.
    """
    failures = list(job.failures)
    closed: Postponed | None = None
    for source in job.sources[len(failures) :]:
        try:
            return as_far_as_it_goes(_deliver(job, source))
        except SourceError as error:
            failures.append(error)
        except Postponed as error:
            if not error.why:  # its rate alone: it will come, and the order of the sources holds
                raise Postponed(error.host, error.until, then=replace(job, failures=tuple(failures))) from None
            closed = error
            break
    if closed is not None:
        return _from_the_others(job, len(failures), closed, failures)
    raise _most_hopeful(failures, job.sources)


def _from_the_others(job: Job, waiting: int, closed: Postponed, failures: list[SourceError]) -> list[Entry]:
    """A host is left alone for a while: the sources behind it may have the clip; if not, it is waited for.

    Raises:
        Postponed: until the first of them all can be asked; then all are, in their order.
    """
    first = closed
    for source in job.sources[waiting + 1 :]:
        try:
            return as_far_as_it_goes(_deliver(job, source))
        except SourceError:
            continue
        except Postponed as error:
            first = min(first, error, key=lambda postponed: postponed.until)
    raise Postponed(first.host, first.until, first.why, then=replace(job, failures=tuple(failures)))


def _deliver(job: Job, source: Source) -> Iterator[Entry]:
    """One entry per clip; a fetch that covers several of them is made once."""
    if isinstance(source, ArchiveSource):
        yield from _staged(job, source)
        return
    fetched: Entry | None = None
    for wanted in job.wanted:
        if fetched is None or not _covers(fetched, wanted):
            fetched = _fetch(job, source, wanted)
        yield replace(fetched, key=wanted.clip_id)


def _fetch(job: Job, source: Source, wanted: Wanted) -> Entry:
    with scratch_folder() as scratch:
        video = _politely(job.gate, source, wanted, scratch)
        whole = video.begins_at == 0 and video.ends_at is None
        name = safe_name(wanted.source_id) if whole else wanted.clip_id
        path = f"sources/{name}{video.path.suffix.lower()}"
        size = video.path.stat().st_size
        job.store.put_file(video.path, path)
    return Entry(
        wanted.clip_id,
        STAGE,
        job.recipe,
        source=source.kind,
        path=path,
        bytes=size,
        begins_at=video.begins_at,
        ends_at=video.ends_at,
    )


def _politely(gate: Gatekeeper, source: Source, wanted: Wanted, into: Path) -> Fetched:
    """Fetch when the host lets us, and tell the others how it went."""
    host = source.host(wanted)
    if host is None:
        return _fetched(source, wanted, into)
    gate.turn(host, wanted.clip_id, source.rate)
    try:
        fetched = _fetched(source, wanted, into)
    except Blocked as error:
        gate.blocked(host, str(error), error.retry_after, source.pause)
        raise
    except Unreachable as error:
        gate.silent(host, str(error), source.pause)
        raise
    except SourceError:
        gate.answered(host, wanted.clip_id)
        raise
    gate.answered(host, wanted.clip_id)
    return fetched


def _fetched(source: Source, wanted: Wanted, into: Path) -> Fetched:
    """``source.fetch``; that this machine's disk is full is not the host's fault, whatever a library made of it."""
    try:
        return source.fetch(wanted, into)
    except SourceError as error:
        if trouble := exhausted(error):
            raise trouble from error
        raise


def _staged(job: Job, source: ArchiveSource) -> Iterator[Entry]:
    for wanted in job.wanted:
        path = staged_path(wanted.clip_id)
        if not job.store.is_file(path):
            if job.unread:
                raise Unreachable(f"not in the archives that could be read ({job.unread})")
            source.fetch(wanted, Path())  # says why not
        yield Entry(
            wanted.clip_id,
            STAGE,
            job.recipe,
            source=source.kind,
            path=path,
            begins_at=wanted.time_start or 0.0,
            ends_at=wanted.time_end,
        )


def _covers(fetched: Entry, wanted: Wanted) -> bool:
    """Whether what was fetched holds the wanted segment."""
    assert fetched.begins_at is not None
    begins = fetched.begins_at <= (wanted.time_start or 0.0)
    return begins and (fetched.ends_at is None or (wanted.time_end is not None and wanted.time_end <= fetched.ends_at))


def _most_hopeful(failures: Sequence[SourceError], sources: Sequence[Source]) -> SourceError:
    rank = {Blocked: 0, Unreachable: 1}
    worst = min(failures, key=lambda error: rank.get(type(error), 2))
    if len(failures) == 1:
        return worst
    said = zip(sources, failures, strict=True)
    return type(worst)("; ".join(f"{source.kind}: {error}" for source, error in said))
