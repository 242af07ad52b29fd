"""Augment: variants of stored clips, until every class has enough."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vidclf.config import AugmentConfig
from vidclf.ledger import Entry
from vidclf.media.augment import augment
from vidclf.media.frames import decode_jpeg, encode_jpeg
from vidclf.stages import StageJob
from vidclf.stages.frames import part_id, write_part
from vidclf.storage import Store

STAGE = "augment"


@dataclass(frozen=True)
class Share:
    """Variants 1 … ``num_variants`` of one clip."""

    clip_id: str
    frames_path: str  # relative to the dataset
    frames_row: int
    num_variants: int


@dataclass(frozen=True, kw_only=True)
class Job(StageJob):
    """One part of variants, of clips of one shard."""

    shard: int
    clips: tuple[Share, ...]
    config: AugmentConfig
    quality: int

    @property
    def part_id(self) -> str:
        return part_id(self.shard, (f"{clip.clip_id}x{clip.num_variants}" for clip in self.clips))

    def alone(self) -> list[Job]:
        if len(self.clips) == 1:
            return []
        return [replace(self, keys=(clip.clip_id,), clips=(clip,)) for clip in self.clips]


def share_out(clips: Iterable[tuple[str, str, str]], config: AugmentConfig) -> dict[str, int]:
    """How many variants each clip gets, so that each class of each chosen split reaches its target.

    Depends on the set of clips alone, neither on their order nor on what was done before.

    Args:
        clips: (clip_id, label, split) of every clip that is ok.

    Returns:
        clip_id → number of variants, at most ``max_variants``; clips that get none are left out.
    """
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for clip_id, label, split in sorted(set(clips)):
        if split in config.splits:
            groups[label, split].append(clip_id)
    shares: dict[str, int] = {}
    for members in groups.values():
        missing = max(0, config.target_per_class - len(members))
        each, rest = divmod(missing, len(members))
        for position, clip_id in enumerate(members):
            number = min(each + (position < rest), config.max_variants)
            if number:
                shares[clip_id] = number
    return shares


def do(job: Job) -> list[Entry]:
    """Make the variants and write them as one part, those of a clip one behind the other.

    Raises:
        StorageError: the store failed.
    """
    path = f"frames/{job.recipe}/{job.part_id}.parquet"
    entries: list[Entry] = []
    rows: list[dict[str, Any]] = []
    for wanted in job.clips:
        original = _read(job.store, wanted)
        frames = np.stack([decode_jpeg(frame) for frame in original["frames"]])  # uint8 (T, H, W, 3)
        entries.append(
            Entry(wanted.clip_id, STAGE, job.recipe, path=path, row=len(rows), num_variants=wanted.num_variants)
        )
        for variant in range(1, wanted.num_variants + 1):
            varied = augment(frames, wanted.clip_id, variant, job.config)
            jpegs = [encode_jpeg(frame, job.quality) for frame in varied]
            rows.append({**original, "variant": variant, "frames": jpegs})
    write_part(job.store, path, rows)
    return entries


def _read(store: Store, wanted: Share) -> dict[str, Any]:
    row: dict[str, Any] = store.read_row_group(wanted.frames_path, wanted.frames_row).to_pylist()[0]
    return row
