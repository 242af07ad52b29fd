"""Which of a clip's stored frames make up a view: pure functions on indices.

A window is ``num_frames`` indices, ``sampling_rate`` apart. Where it is longer than the clip it starts at the first
frame and repeats the last one: the distance stays the one that the model knows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def window_span(num_frames: int, sampling_rate: int) -> int:
    """Stored frames from the first to the last of a window, both counted."""
    return (num_frames - 1) * sampling_rate + 1


def resolve_rate(num_stored: int, num_frames: int, at_most: int) -> int:
    """The widest sampling rate whose window fits into ``num_stored`` frames; from 1 to ``at_most``."""
    if num_frames == 1:
        return 1
    return max(1, min(at_most, (num_stored - 1) // (num_frames - 1)))


def train_window(num_stored: int, num_frames: int, sampling_rate: int, rng: np.random.Generator) -> Indices:
    """Indices (num_frames,) of a window that starts anywhere it fits."""
    start = int(rng.integers(0, _slack(num_stored, num_frames, sampling_rate) + 1))
    return _window(start, num_stored, num_frames, sampling_rate)


def view_windows(num_stored: int, num_frames: int, sampling_rate: int, num_views: int) -> Indices:
    """Indices (num_views, num_frames) of windows spread evenly from the clip's start to its end; one is in the middle.

    Always ``num_views`` of them: a short clip's coincide.
    """
    slack = _slack(num_stored, num_frames, sampling_rate)
    starts = [slack // 2] if num_views == 1 else np.linspace(0, slack, num_views).round().astype(int).tolist()
    return np.stack([_window(start, num_stored, num_frames, sampling_rate) for start in starts])


def _slack(num_stored: int, num_frames: int, sampling_rate: int) -> int:
    if num_stored < 1:
        raise ValueError("a clip without frames has no window")
    return max(0, num_stored - window_span(num_frames, sampling_rate))


def _window(start: int, num_stored: int, num_frames: int, sampling_rate: int) -> Indices:
    return np.minimum(start + np.arange(num_frames, dtype=np.int64) * sampling_rate, num_stored - 1)
