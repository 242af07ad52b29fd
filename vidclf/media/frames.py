"""Frames of a clip, spread evenly over its time, as JPEG or as arrays."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vidclf.config import FramesConfig, fingerprint
from vidclf.errors import Unreadable
from vidclf.media.probe import open_video, pixel_aspect, survey, video_stream

if TYPE_CHECKING:
    import av


def recipe_of(clip_recipe: str, config: FramesConfig) -> str:
    """The recipe_id of frames taken by ``config`` from clips of ``clip_recipe``."""
    return fingerprint({"clips": clip_recipe, "frames": config.model_dump(mode="json")})


def sample_times(duration: Fraction, num_frames: int | None, fps: float | None, max_frames: int) -> list[Fraction]:
    """Seconds from the first frame: the middles of equal parts of ``duration``.

    Args:
        duration: seconds.
        num_frames: so many parts; None: round(duration · ``fps``), at least one and at most ``max_frames``.
    """
    if num_frames is None:
        if fps is None:
            raise ValueError("give num_frames or fps")
        num_frames = min(max_frames, max(1, round(duration * Fraction(str(fps)))))
    return [duration * (2 * position + 1) / (2 * num_frames) for position in range(num_frames)]


def read_frames(
    path: Path,
    num_frames: int | None,
    side_size: int | None,
    *,
    fps: float | None = None,
    max_frames: int = 4096,
    size: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Decode evenly spread frames of a local video: what it shows in the middle of each of T equal parts of its time.

    Pictures are as they are shown: turned upright, and with square pixels.

    Args:
        num_frames: T; a video with fewer frames gives some of them more than once.
        side_size: pixels of the shorter side; smaller videos stay as they are.
        fps: where ``num_frames`` is None, frames per second of the video, and T at most ``max_frames``.
        size: where ``side_size`` is None, the exact (width, height) in pixels.

    Returns:
        frames uint8 (T, H, W, 3) in RGB, and float64 (T,): their own times in seconds from the first frame.

    Raises:
        MediaError: the file cannot be decoded.
    """
    info, whole = survey(path, None, None, 0.0)
    begin = info.start + whole.first
    times = sample_times(whole.duration, num_frames, fps, max_frames)
    pictures: list[np.ndarray] = []
    shown_at: list[float] = []
    for frame, aspect, wanted in _shown_at(path, [begin + time for time in times]):
        picture = _picture(frame, aspect, side_size, size)
        pictures += [picture] * wanted
        shown_at += [float(_time(frame) - begin)] * wanted
    if not pictures:
        raise Unreadable(f"{path.name}: no frame could be decoded")
    if any(picture.shape != pictures[0].shape for picture in pictures):
        raise Unreadable(f"{path.name}: its picture changes its size")
    return np.stack(pictures), np.array(shown_at)


def read_chosen_frames(
    path: Path, choose: Callable[[int], Sequence[int]], *, fps: float | None, side_size: int
) -> np.ndarray:
    """Decode some frames of a local video, counted as its clip's would be after transcoding.

    Args:
        choose: is told how many frames there are, and says which, in any order and also more than once.
        fps: frame k is what is shown (k + ½) / fps after the first frame, as in a clip of ``ClipProfile.fps``;
            None: every frame of the file counts.
        side_size: pixels of the shorter side; smaller videos stay as they are.

    Returns:
        uint8 (T, H, W, 3) in RGB, in the order that ``choose`` gave.

    Raises:
        MediaError: the file cannot be decoded.
    """
    info, whole = survey(path, None, None, 0.0)
    rate = None if fps is None else Fraction(fps).limit_denominator(1001)
    chosen = choose(whole.num_frames if rate is None else max(1, round(whole.duration * rate)))
    wanted = sorted(set(chosen))
    pictures: list[np.ndarray] = []
    if rate is None:
        pictures = [_picture(frame, aspect, side_size, None) for frame, aspect in _numbered(path, wanted)]
    else:
        begin, half = info.start + whole.first, Fraction(1, 2)
        for frame, aspect, count in _shown_at(path, [begin + (index + half) / rate for index in wanted]):
            pictures += [_picture(frame, aspect, side_size, None)] * count
    if len(pictures) != len(wanted):
        raise Unreadable(f"{path.name}: {len(wanted) - len(pictures)} of {len(wanted)} frames cannot be decoded")
    if any(picture.shape != pictures[0].shape for picture in pictures):
        raise Unreadable(f"{path.name}: its picture changes its size")
    found = dict(zip(wanted, pictures, strict=True))
    return np.stack([found[index] for index in chosen])


def frames_at(
    path: Path, times: Sequence[Fraction], side_size: int | None, *, size: tuple[int, int] | None = None
) -> Iterator[np.ndarray]:
    """What a local video shows at ``times``, one picture after another: long videos are read once, and never held whole.

    Args:
        times: seconds from the first frame, ascending.
        side_size, size: as for ``read_frames``.

    Returns:
        An iterator of uint8 (H, W, 3), RGB, one for each time.

    Raises:
        MediaError: the file cannot be decoded, or ends before the last of ``times``; from the iterator.
    """
    info, whole = survey(path, None, None, 0.0)
    begin = info.start + whole.first
    given = 0
    for frame, aspect, wanted in _shown_at(path, [begin + time for time in times]):
        picture = _picture(frame, aspect, side_size, size)
        for _ in range(wanted):
            yield picture
        given += wanted
    if given < len(times):
        raise Unreadable(f"{path.name}: no frame could be decoded at {float(times[given]):.2f} s")


def encode_jpeg(frame: np.ndarray, quality: int) -> bytes:
    """uint8 (H, W, 3) → JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def decode_jpeg(data: bytes) -> np.ndarray:
    """JPEG → uint8 (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _shown_at(path: Path, times: list[Fraction]) -> Iterator[tuple[av.VideoFrame, Fraction, int]]:
    """Each frame that is shown at some of ``times`` (ascending), its pixels' shape, and at how many of them."""
    with open_video(path) as container:
        stream = video_stream(container)
        aspect = pixel_aspect(stream)
        stream.codec_context.thread_count = 1  # parallelism comes from many clips
        shown: av.VideoFrame | None = None
        taken = 0
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            until = taken
            while until < len(times) and shown is not None and times[until] < _time(frame):
                until += 1
            if shown is not None and until > taken:
                yield shown, aspect, until - taken
            taken, shown = until, frame
            if taken == len(times):
                return
        if shown is not None and taken < len(times):
            yield shown, aspect, len(times) - taken


def _numbered(path: Path, wanted: Sequence[int]) -> Iterator[tuple[av.VideoFrame, Fraction]]:
    """The frames whose numbers, in order of time, are ``wanted`` (ascending), and their pixels' shape."""
    with open_video(path) as container:
        stream = video_stream(container)
        aspect = pixel_aspect(stream)
        stream.codec_context.thread_count = 1  # parallelism comes from many clips
        shown = (frame for frame in container.decode(stream) if frame.pts is not None)
        remaining = set(wanted)
        for number, frame in enumerate(islice(shown, wanted[-1] + 1)):
            if number in remaining:
                yield frame, aspect


def _time(frame: av.VideoFrame) -> Fraction:
    assert frame.pts is not None
    assert frame.time_base is not None
    return frame.pts * frame.time_base


def _picture(frame: av.VideoFrame, aspect: Fraction, side_size: int | None, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 (H, W, 3), RGB: scaled, and turned as the file says."""
    turns = round(frame.rotation / 90) % 4  # quarters, counter-clockwise
    if size is not None:
        width, height = size if turns % 2 == 0 else size[::-1]
    else:
        assert side_size is not None
        shown_width = frame.width * aspect
        scale = min(Fraction(1), side_size / min(shown_width, Fraction(frame.height)))
        width, height = max(1, round(shown_width * scale)), max(1, round(frame.height * scale))
    picture = frame.reformat(width, height, format="rgb24", interpolation="BICUBIC").to_ndarray()
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
