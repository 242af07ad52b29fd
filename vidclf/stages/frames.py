"""Frames: the clips of one part become rows of one Parquet file, JPEG, one row group each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vidclf.clips import FRAMES
from vidclf.config import FramesConfig
from vidclf.errors import ClipError
from vidclf.ledger import Entry
from vidclf.media.frames import encode_jpeg, read_frames
from vidclf.scratch import scratch_folder
from vidclf.stages import StageJob, in_parts
from vidclf.storage import Store

STAGE = "frames"


@dataclass(frozen=True, kw_only=True)
class Job(StageJob):
    """One part: some clips of one shard."""

    shard: int
    paths: tuple[str, ...]  # of the clips, relative to the dataset
    frames: FramesConfig

    @property
    def part_id(self) -> str:
        return part_id(self.shard, self.keys)

    def alone(self) -> list[Job]:
        if len(self.keys) == 1:
            return []
        return [replace(self, keys=(key,), paths=(path,)) for key, path in zip(self.keys, self.paths, strict=True)]


def jobs_of(
    paths: Mapping[str, str], store: Store, recipe: str, shard: int, frames: FramesConfig, part_size: int
) -> Iterator[Job]:
    """One job per part.

    Args:
        paths: clip_id → path of the clip, relative to the dataset.
        store: of the dataset.
        part_size: clips per part.
    """
    for ids in in_parts(paths, part_size):
        clip_paths = tuple(paths[clip_id] for clip_id in ids)
        yield Job(store=store, keys=ids, recipe=recipe, shard=shard, paths=clip_paths, frames=frames)


def part_id(shard: int, clip_ids: Iterable[str]) -> str:
    """A part is named after what is in it: doing it again writes the same file, other contents another one."""
    return f"{shard:05d}-{hashlib.sha256('/'.join(clip_ids).encode()).hexdigest()[:12]}"


def do(job: Job) -> list[Entry]:
    """Decode each clip and write the part; a clip that cannot be decoded becomes a failed entry and takes no row.

    Raises:
        StorageError: the store failed.
    """
    path = f"frames/{job.recipe}/{job.part_id}.parquet"
    entries, rows = [], []
    with scratch_folder() as scratch:
        for clip_id, clip_path in zip(job.keys, job.paths, strict=True):
            try:
                with job.store.local_copy(clip_path, scratch) as clip:
                    rows.append(_row(clip_id, clip, job.frames))
            except ClipError as error:
                failed = Entry(clip_id, STAGE, job.recipe, "failed", error.kind, str(error))
                entries.append(failed)
                continue
            entries.append(
                Entry(clip_id, STAGE, job.recipe, path=path, row=len(rows) - 1, num_frames=len(rows[-1]["frames"]))
            )
    if rows:
        write_part(job.store, path, rows)
    return entries


def write_part(store: Store, path: str, rows: list[dict[str, Any]]) -> None:
    """Write rows of ``vidclf.clips.FRAMES`` as one file, a row group each, uncompressed: one ranged read gets one clip."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, FRAMES, compression="none", use_dictionary=False) as writer:
        for row in rows:
            writer.write_table(pa.Table.from_pylist([row], schema=FRAMES), row_group_size=1)
    store.write_bytes(path, sink.getvalue().to_pybytes())


def _row(clip_id: str, clip: Path, config: FramesConfig) -> dict[str, Any]:
    frames, timestamps = read_frames(
        clip, config.num_frames, config.side_size, fps=config.fps, max_frames=config.max_frames, size=config.size
    )
    return {
        "clip_id": clip_id,
        "variant": 0,
        "frames": [encode_jpeg(frame, config.quality) for frame in frames],
        "timestamps": timestamps.tolist(),
        "width": frames.shape[2],
        "height": frames.shape[1],
    }
