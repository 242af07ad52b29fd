"""Stages that do nothing, and write the ledger entries that the real ones would."""

from __future__ import annotations

import random
from typing import Any

from vidclf.ledger import Entry
from vidclf.stages import StageJob


def good_entry(clip: str, stage: str, recipe: str, row: int) -> Entry:
    """An entry as the stage itself would write it."""
    if stage == "download":
        return Entry(clip, stage, recipe, source="youtube", path=f"sources/{clip}.mp4", bytes=1_000_000, begins_at=0.0)
    if stage == "frames":
        return Entry(clip, stage, recipe, path=f"frames/f/{row // 32:05d}.parquet", row=row % 32, num_frames=32)
    digest = f"{random.getrandbits(256):064x}"
    info: dict[str, Any] = {"width": 340, "height": 256, "fps": 25.0, "duration": 10.0, "num_frames": 250}
    return Entry(clip, stage, recipe, path=f"clips/c/{clip}.mp4", sha256=digest, bytes=500_000, **info)


def download(job: StageJob) -> list[Entry]:
    return [Entry(key, "download", job.recipe, path=f"sources/{key}.mp4", bytes=1, begins_at=0.0) for key in job.keys]


def transcode(job: StageJob) -> list[Entry]:
    return [good_entry(key, "transcode", job.recipe, 0) for key in job.keys]


def frames(job: StageJob) -> list[Entry]:
    return [good_entry(key, "frames", job.recipe, row) for row, key in enumerate(job.keys)]
