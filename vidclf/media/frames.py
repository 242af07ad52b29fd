"""Frames of a clip, spread evenly over it, as JPEG or as arrays."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from vidclf.config import FramesConfig, fingerprint
from vidclf.errors import Unreadable
from vidclf.media.probe import open_video


def recipe_of(clip_recipe: str, config: FramesConfig) -> str:
    """The recipe_id of frames taken by ``config`` from clips of ``clip_recipe``."""
    return fingerprint({"clips": clip_recipe, "frames": config.model_dump(mode="json")})


def uniform_indices(total: int, num_frames: int) -> np.ndarray:
    """int64 (num_frames,): the middles of ``num_frames`` equal parts of ``total`` frames; repeats where there are fewer."""
    return ((np.arange(num_frames) + 0.5) * total / num_frames).astype(np.int64)


def read_frames(path: Path, num_frames: int, side_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode evenly spread frames of a local video.

    Args:
        num_frames: frames to return.
        side_size: pixels of the shorter side; smaller videos stay as they are.

    Returns:
        frames uint8 (T, H, W, 3) in RGB, and float64 (T,): their times in seconds from the first frame.

    Raises:
        MediaError: the file cannot be decoded.
    """
    total = _count(path)
    wanted = uniform_indices(total, num_frames)
    picked: dict[int, tuple[np.ndarray, float]] = {}
    for index, (frame, time) in enumerate(_decode(path, side_size, set(wanted.tolist()))):
        if frame is not None:
            picked[index] = (frame, time)
    if not picked:
        raise Unreadable(f"{path.name}: no frame could be decoded")
    held = sorted(picked)
    chosen = [held[min(np.searchsorted(held, index), len(held) - 1)] for index in wanted]
    times = np.array([picked[index][1] for index in chosen])
    return np.stack([picked[index][0] for index in chosen]), times


def encode_jpeg(frame: np.ndarray, quality: int) -> bytes:
    """uint8 (H, W, 3) → JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def decode_jpeg(data: bytes) -> np.ndarray:
    """JPEG → uint8 (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _count(path: Path) -> int:
    with open_video(path) as container:
        stream = container.streams.video[0]
        return sum(1 for packet in container.demux(stream) if packet.pts is not None) or stream.frames


def _decode(path: Path, side_size: int, wanted: set[int]) -> Iterator[tuple[np.ndarray | None, float]]:
    """Every frame in order, as an array only where it is wanted; stops after the last wanted one."""
    last = max(wanted)
    with open_video(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # parallelism comes from many clips
        first: float | None = None
        for index, frame in enumerate(container.decode(stream)):
            time = frame.time if frame.time is not None else float(index)
            first = time if first is None else first
            if index not in wanted:
                yield None, time - first
            else:
                side = min(frame.width, frame.height)
                scale = min(1.0, side_size / side)
                width, height = round(frame.width * scale), round(frame.height * scale)
                picture = frame.reformat(width, height, format="rgb24", interpolation="BICUBIC")
                yield picture.to_ndarray(), time - first
            if index == last:
                return
