"""The records that pass between the stages, and the Arrow schemas of what is stored."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 2

#: One row per annotation, as the layouts read them. Both times null: the whole video.
ANNOTATIONS = pa.schema(
    [
        pa.field("source_id", pa.string(), nullable=False),  # video id, or path inside the folder; hostile input
        pa.field("label", pa.string()),  # null: unlabelled
        pa.field("split", pa.string()),  # train | val | test; null: the layout has none, so one is drawn
        pa.field("group", pa.string()),  # what must not be torn apart by a drawn split; null: the source
        pa.field("time_start", pa.float64()),  # seconds
        pa.field("time_end", pa.float64()),  # seconds, exclusive
        pa.field("problem", pa.string()),  # why the row makes no sense; it becomes a failed row of the manifest
    ]
)

#: One row per annotation: what became of it. ``snapshots/{snapshot_id}/clips.parquet``.
MANIFEST = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("label_id", pa.int32()),
        pa.field("split", pa.string(), nullable=False),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("time_start", pa.float64()),  # seconds
        pa.field("time_end", pa.float64()),  # seconds, exclusive
        pa.field("status", pa.string(), nullable=False),  # ok | failed | unlabelled
        pa.field("error_kind", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("clip_path", pa.string()),  # relative to the dataset
        pa.field("frames_path", pa.string()),  # relative to the dataset
        pa.field("frames_row", pa.int32()),  # row group of the unaltered clip in frames_path
        pa.field("num_variants", pa.int32()),  # augmented ones, the unaltered clip not counted
        pa.field("variants_path", pa.string()),  # relative to the dataset
        pa.field("variants_row", pa.int32()),  # row group of variant 1 in variants_path; the others follow it
        pa.field("sha256", pa.string()),  # of the clip's bytes
        pa.field("bytes", pa.int64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("fps", pa.float64()),  # mean over the clip
        pa.field("duration", pa.float64()),  # seconds, the last frame's own duration included
        pa.field("num_frames", pa.int32()),
    ]
)

#: One row per clip and end of a stage. ``ledger/{stage}/{shard}/*.parquet``.
LEDGER = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # clip_id; in the stage "archive" the archive's name
        pa.field("stage", pa.string(), nullable=False),
        pa.field("recipe", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),  # ok | failed | dropped (its file was collected)
        pa.field("error_kind", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("source", pa.string()),  # kind of the source that delivered, or of those that were asked
        pa.field("path", pa.string()),  # what was written, relative to the dataset
        pa.field("begins_at", pa.float64()),  # seconds of the video at which a downloaded file begins
        pa.field("ends_at", pa.float64()),  # seconds; null: it holds the video's end
        pa.field("row", pa.int32()),  # row group inside path, where it is Parquet
        pa.field("sha256", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("fps", pa.float64()),
        pa.field("duration", pa.float64()),
        pa.field("num_frames", pa.int32()),
        pa.field("num_variants", pa.int32()),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("finished_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("seconds", pa.float64()),
    ]
)

#: One row, and one row group, per clip and variant. ``frames/{recipe_id}/{part_id}.parquet``.
FRAMES = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("variant", pa.int32(), nullable=False),  # 0 is the unaltered clip
        pa.field("frames", pa.list_(pa.binary()), nullable=False),  # JPEG, in order of time
        pa.field("timestamps", pa.list_(pa.float64()), nullable=False),  # seconds from the clip's first frame
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Clip:
    """One clip to make: in this video, from ``time_start`` to ``time_end``, somebody does ``label``.

    Times are seconds; both None means the whole video.
    """

    clip_id: str
    source_id: str
    label: str | None
    split: str
    time_start: float | None
    time_end: float | None

    @property
    def source_key(self) -> str:
        return safe_name(self.source_id)


@dataclass(frozen=True)
class VideoInfo:
    """What a finished clip is: counted, not declared."""

    width: int  # pixels, as shown
    height: int
    fps: float  # frames per second, mean
    duration: float  # seconds
    num_frames: int


def clip_id(source_id: str, time_start: float | None, time_end: float | None) -> str:
    """``{id}_{start:06d}_{end:06d}`` as Kinetics names its clips; milliseconds, marked ``ms``, where a time is not whole.

    Always safe as a file name, whatever the annotation said.
    """
    name = safe_name(source_id)
    if time_start is None or time_end is None:
        return name
    if float(time_start).is_integer() and float(time_end).is_integer():
        return f"{name}_{int(time_start):06d}_{int(time_end):06d}"
    return f"{name}_{round(time_start * 1000):09d}ms_{round(time_end * 1000):09d}ms"


def safe_name(text: str) -> str:
    """``text`` where it is a harmless file name, otherwise a harmless one with a hash of ``text``, so none collide."""
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", text):
        return text
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", text.rsplit(".", 1)[0])[-60:].strip("-") or "video"
    return f"{stem}.{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def shard_of(source_id: str, num_shards: int) -> int:
    """The shard of a source's clips: a hash, so that neither order nor company moves a clip."""
    digest = hashlib.sha256(source_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % num_shards
