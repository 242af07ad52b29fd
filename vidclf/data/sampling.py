"""Which of a clip's frames make up a view: pure functions on indices.

Three ways (``Sampling``):

- *random*: a window of ``num_frames`` indices, ``sampling_rate`` apart, anywhere in the clip. Where it is longer than
  the clip it starts at the first frame and repeats the last one: the distance stays the one that the model knows.
- *consecutive*: such a window of frames in a row, ``sampling_rate`` being 1.
- *uniform*: one frame of each of ``num_frames`` equal parts of the clip, however long it is (the sparse sampling of
  Temporal Segment Networks, https://arxiv.org/abs/1608.00859).

In training the window's place, or each frame's within its part, is drawn; in evaluation they are spread evenly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidclf.config.training import Sampling

Indices = NDArray[np.int64]


def window_span(num_frames: int, sampling_rate: int) -> int:
    """Stored frames from the first to the last of a window, both counted."""
    return (num_frames - 1) * sampling_rate + 1


def resolve_rate(num_stored: int, num_frames: int, at_most: int) -> int:
    """The widest sampling rate whose window fits into ``num_stored`` frames; from 1 to ``at_most``."""
    if num_frames == 1:
        return 1
    return max(1, min(at_most, (num_stored - 1) // (num_frames - 1)))


def train_window(
    num_stored: int, num_frames: int, sampling_rate: int, rng: np.random.Generator, sampling: Sampling = "random"
) -> Indices:
    """Indices (num_frames,) of a random view."""
    if sampling == "uniform":
        return _one_of_each_part(num_stored, num_frames, rng.random(num_frames))
    start = int(rng.integers(0, _slack(num_stored, num_frames, sampling_rate) + 1))
    return _window(start, num_stored, num_frames, sampling_rate)


def view_windows(
    num_stored: int, num_frames: int, sampling_rate: int, num_views: int, sampling: Sampling = "random"
) -> Indices:
    """Indices (num_views, num_frames) of views spread evenly; a single one is in the middle.

    Windows reach from the clip's start to its end. Uniform views each span the whole clip, and lie between each other.
    Always ``num_views`` of them: a short clip's coincide.
    """
    if sampling == "uniform":
        places = [(2 * number + 1) / (2 * num_views) for number in range(num_views)]
        return np.stack([_one_of_each_part(num_stored, num_frames, np.full(num_frames, place)) for place in places])
    slack = _slack(num_stored, num_frames, sampling_rate)
    starts = [slack // 2] if num_views == 1 else np.linspace(0, slack, num_views).round().astype(int).tolist()
    return np.stack([_window(start, num_stored, num_frames, sampling_rate) for start in starts])


def _slack(num_stored: int, num_frames: int, sampling_rate: int) -> int:
    if num_stored < 1:
        raise ValueError("a clip without frames has no window")
    return max(0, num_stored - window_span(num_frames, sampling_rate))


def _window(start: int, num_stored: int, num_frames: int, sampling_rate: int) -> Indices:
    return np.minimum(start + np.arange(num_frames, dtype=np.int64) * sampling_rate, num_stored - 1)


def _one_of_each_part(num_stored: int, num_frames: int, places: NDArray[np.float64]) -> Indices:
    """The frame at ``places`` (num_frames,), each from 0 to below 1, of each of ``num_frames`` equal parts."""
    if num_stored < 1:
        raise ValueError("a clip without frames has no window")
    return ((np.arange(num_frames) + places) * num_stored / num_frames).astype(np.int64).clip(max=num_stored - 1)
