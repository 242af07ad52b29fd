"""Transcode: the segment of a downloaded video becomes a clip in the store."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from vidclf.config import ClipProfile
from vidclf.ledger import Entry
from vidclf.media.cut import cut
from vidclf.storage import Store

STAGE = "transcode"


@dataclass(frozen=True)
class Job:
    """One clip to cut and encode."""

    store: Store
    key: str  # clip_id
    recipe: str
    source_path: str  # relative to the dataset
    time_start: float | None  # seconds
    time_end: float | None
    profile: ClipProfile
    timeout: float  # seconds


def do(job: Job) -> Entry:
    """Cut, encode and check the clip, then put it into the store whole.

    Raises:
        MediaError, TimedOut: see ``vidclf.media.cut.cut``.
        StorageError: the store failed.
    """
    with tempfile.TemporaryDirectory(prefix="vidclf-") as folder:
        scratch = Path(folder)
        made = scratch / "clip.mp4"
        with job.store.local_copy(job.source_path, scratch) as source:
            info = cut(source, job.time_start, job.time_end, job.profile, made, job.timeout)
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        size = made.stat().st_size
        path = f"clips/{job.recipe}/{job.key}.mp4"
        job.store.put_file(made, path)
    return Entry(job.key, STAGE, job.recipe, path=path, sha256=digest, bytes=size, **asdict(info))
