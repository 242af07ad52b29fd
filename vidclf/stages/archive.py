"""Archive: the wanted clips of one tar go into the store, where the download stage finds them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from vidclf.errors import Blocked, SourceError, Unreachable
from vidclf.ledger import Entry
from vidclf.politeness import Gatekeeper
from vidclf.scratch import scratch_folder
from vidclf.sources import Wanted
from vidclf.sources.archives import Archive, ArchiveSource
from vidclf.stages import StageJob
from vidclf.stages.download import staged_path

STAGE = "archive"


@dataclass(frozen=True, kw_only=True)
class Job(StageJob):
    """One archive, read through once. Its key in the ledger is its URI."""

    archive: Archive
    archives: ArchiveSource
    wanted: Container[str]  # clip_ids; others are read past
    gate: Gatekeeper

    @property
    def source(self) -> str:
        return self.archives.kind


def do(job: Job) -> list[Entry]:
    """Stage every wanted clip of the archive, in place of what may be staged of it: who asks leaves out what is to stay.

    Raises:
        SourceError: the archive could not be read to its end; what came before the fault is staged.
        Postponed: the host's turn has not come.
        StorageError: the store failed.
    """
    size = 0
    host = job.archives.host(Wanted("", job.archive.uri))
    if host is not None:
        job.gate.turn(host, job.archive.uri, job.archives.rate)
    try:
        with scratch_folder() as scratch:
            for clip_id, local in job.archives.members(job.archive, scratch, job.wanted):
                size += local.stat().st_size
                job.store.put_file(local, staged_path(clip_id))
    except SourceError as error:
        if host is not None:
            _tell(job, host, error)
        raise
    if host is not None:
        job.gate.answered(host, job.archive.uri)
    return [Entry(job.archive.uri, STAGE, job.recipe, source=job.source, bytes=size)]


def _tell(job: Job, host: str, error: SourceError) -> None:
    if isinstance(error, Blocked):
        job.gate.blocked(host, str(error), error.retry_after, job.archives.pause)
    elif isinstance(error, Unreachable):
        job.gate.silent(host, str(error), job.archives.pause)
    else:
        job.gate.answered(host, job.archive.uri)
