"""Transcode: the segment of a downloaded video becomes a clip in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from vidclf.clips import Clip
from vidclf.config import ClipProfile
from vidclf.ledger import Entry
from vidclf.media.cut import cut
from vidclf.scratch import scratch_folder
from vidclf.stages import StageJob
from vidclf.storage import Store

STAGE = "transcode"


@dataclass(frozen=True, kw_only=True)
class Job(StageJob):
    """One clip to cut and encode."""

    source_path: str  # relative to the dataset
    begins_at: float  # seconds of the video at which that file begins
    time_start: float | None  # seconds of the video
    time_end: float | None
    profile: ClipProfile
    timeout: float  # seconds


def jobs_of(
    clips: Iterable[Clip], fetched: Mapping[str, Entry], store: Store, recipe: str, profile: ClipProfile, timeout: float
) -> Iterator[Job]:
    """One job per clip whose video is there; the others have their account from the download.

    Args:
        fetched: clip_id → its download.
        store: of the dataset.
        timeout: seconds per clip.
    """
    for clip in clips:
        source = fetched.get(clip.clip_id)
        if source is None or not source.ok or source.path is None:
            continue
        yield Job(
            store=store,
            keys=(clip.clip_id,),
            recipe=recipe,
            source_path=source.path,
            begins_at=source.begins_at or 0.0,
            time_start=clip.time_start,
            time_end=clip.time_end,
            profile=profile,
            timeout=timeout,
        )


def do(job: Job) -> list[Entry]:
    """Cut, encode and check the clip, then put it into the store whole.

    Raises:
        MediaError, TimedOut: see ``vidclf.media.cut.cut``.
        StorageError: the store failed.
    """
    (clip_id,) = job.keys
    start, end = (None if time is None else time - job.begins_at for time in (job.time_start, job.time_end))
    with scratch_folder() as scratch:
        made = scratch / "clip.mp4"
        with job.store.local_copy(job.source_path, scratch) as source:
            info = cut(source, start, end, job.profile, made, job.timeout)
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        size = made.stat().st_size
        path = f"clips/{job.recipe}/{clip_id}.mp4"
        job.store.put_file(made, path)
    return [Entry(clip_id, STAGE, job.recipe, path=path, sha256=digest, bytes=size, **asdict(info))]
