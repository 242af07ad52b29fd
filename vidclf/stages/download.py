"""Download: a source video, from the first source that has it, into the store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidclf.config import fingerprint
from vidclf.errors import Blocked, SourceError, Unreachable
from vidclf.ledger import Entry
from vidclf.sources import Source
from vidclf.storage import Store

STAGE = "download"


@dataclass(frozen=True)
class Job:
    """One source video to fetch."""

    store: Store
    key: str  # source_key
    recipe: str  # of the list of sources
    source_id: str
    sources: tuple[Source, ...]


def recipe_of(sources: Sequence[Source]) -> str:
    """Which sources were asked: what one list could not deliver, another may. What was delivered stays delivered."""
    return fingerprint([{"kind": source.kind, **source.model_dump(mode="json")} for source in sources])


def do(job: Job) -> Entry:
    """Try the sources in order; the first that delivers wins.

    Raises:
        SourceError: none delivered. An error that may pass counts more than a permanent one, since it leaves hope.
        StorageError: the store failed.
    """
    failures: list[tuple[str, SourceError]] = []
    with tempfile.TemporaryDirectory(prefix="vidclf-") as scratch:
        for number, source in enumerate(job.sources):
            into = Path(scratch) / str(number)
            into.mkdir()
            try:
                video = source.fetch(job.source_id, into)
            except SourceError as error:
                failures.append((source.kind, error))
                continue
            path = f"sources/{job.key}{video.suffix.lower()}"
            size = video.stat().st_size
            job.store.put_file(video, path)
            return Entry(job.key, STAGE, job.recipe, source=source.kind, path=path, bytes=size)
    raise _most_hopeful(failures)


def _most_hopeful(failures: list[tuple[str, SourceError]]) -> SourceError:
    rank = {Blocked: 0, Unreachable: 1}
    _, worst = min(failures, key=lambda failure: rank.get(type(failure[1]), 2))
    if len(failures) == 1:
        return worst
    return type(worst)("; ".join(f"{kind}: {error}" for kind, error in failures))
