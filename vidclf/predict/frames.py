"""The frames of a video file that a model gets to see: those that its training's reader would find in the clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidclf.data.jpeg import fastest
from vidclf.data.sampling import Indices, view_windows
from vidclf.data.view import USUAL_FPS, View
from vidclf.errors import Unreadable
from vidclf.media.frames import encode_jpeg, frames_at, read_chosen_frames, read_frames, sample_times
from vidclf.media.probe import survey


@dataclass(frozen=True)
class ViewFrames:
    """The frames of all views of one clip, one view after another."""

    frames: np.ndarray  # uint8 (V·T, H, W, 3), RGB
    positions: Indices  # (V·T,): which of the clip's stored frames each is

    def once(self) -> np.ndarray:
        """Each frame once, in order of time: uint8 (N, H, W, 3)."""
        _, first = np.unique(self.positions, return_index=True)
        return np.asarray(self.frames[first])


@dataclass(frozen=True)
class Window:
    """A part of a long video."""

    start: Fraction  # seconds from the video's first frame
    end: Fraction


def view_frames(path: Path, view: View, num_views: int) -> ViewFrames:
    """The frames of a whole local video, taken as one clip.

    Raises:
        MediaError: it cannot be decoded.
    """
    positions: Indices | None = None

    def choose(num_stored: int) -> list[int]:
        nonlocal positions
        positions = _positions(num_stored, view, num_views)
        return [int(index) for index in positions]

    stored = view.stored
    if view.reader == "clips":
        assert stored.side_size is not None  # a profile has one
        frames = read_chosen_frames(path, choose, fps=stored.fps, side_size=stored.side_size)
    else:
        every, _ = read_frames(path, **stored.model_dump(exclude={"quality"}))
        frames = every[choose(len(every))]
    assert positions is not None
    return ViewFrames(_as_stored(frames, positions, stored.quality), positions)


def windows_of(path: Path, seconds: float) -> list[Window]:
    """A local video in parts of ``seconds``, one after another; a rest of less than half of that joins the last one.

    Raises:
        MediaError: it cannot be read.
    """
    duration = survey(path, None, None, 0.0)[1].duration
    if duration <= 0:
        raise Unreadable(f"{path.name}: it holds no frame")
    length = Fraction(str(seconds))
    count = max(1, int(duration / length + Fraction(1, 2)))
    ends = [*(length * number for number in range(1, count)), duration]
    return [Window(start, end) for start, end in zip([Fraction(0), *ends[:-1]], ends, strict=True)]


def window_frames(path: Path, view: View, num_views: int, windows: Sequence[Window]) -> Iterator[ViewFrames]:
    """The frames of each window, taken as one clip, in one pass over the file.

    Where the training's clips kept every frame at its own time, the video's average rate counts them.

    Raises:
        MediaError: the file cannot be decoded; from the iterator.
    """
    info, _ = survey(path, None, None, 0.0)
    rate = info.average_rate or Fraction(USUAL_FPS)
    chosen = [_chosen(window, view, num_views, rate) for window in windows]
    times = [window.start + time for window, (_, asked) in zip(windows, chosen, strict=True) for time in asked]
    pictures = frames_at(path, times, view.stored.side_size, size=view.stored.size)
    for positions, asked in chosen:
        found = [next(pictures) for _ in asked]
        if any(picture.shape != found[0].shape for picture in found):
            raise Unreadable(f"{path.name}: its picture changes its size")
        unique = np.unique(positions)
        frames = np.stack(found)[np.searchsorted(unique, positions)]
        yield ViewFrames(_as_stored(frames, positions, view.stored.quality), positions)


def _chosen(window: Window, view: View, num_views: int, rate: Fraction) -> tuple[Indices, list[Fraction]]:
    """Which stored frames of a window the views are made of, and when each of these is shown, once and ascending."""
    stored, duration = view.stored, window.end - window.start
    if view.reader == "clips":
        rate = rate if stored.fps is None else Fraction(stored.fps).limit_denominator(1001)
        times = [(Fraction(2 * k + 1) / 2) / rate for k in range(max(1, round(duration * rate)))]
    else:
        times = sample_times(duration, stored.num_frames, stored.fps, stored.max_frames)
    positions = _positions(len(times), view, num_views)
    return positions, [times[index] for index in np.unique(positions)]


def _positions(num_stored: int, view: View, num_views: int) -> Indices:
    return view_windows(num_stored, view.num_frames, view.sampling_rate, num_views, view.sampling).flatten()


def _as_stored(frames: np.ndarray, positions: Indices, quality: int | None) -> np.ndarray:
    """Through JPEG and back where the training's frames went that way, so that the model sees the very same pixels."""
    if quality is None:
        return frames
    decode = fastest()
    unique, first, back = np.unique(positions, return_index=True, return_inverse=True)
    pixels = np.stack([decode(encode_jpeg(frames[index], quality)) for index in first])
    assert len(pixels) == len(unique)
    return np.asarray(pixels[back])
