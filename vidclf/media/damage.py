"""The second look at a segment that did not come out as its packets promised: which of its frames can be decoded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median

from vidclf.errors import TimedOut
from vidclf.media.probe import SourceInfo, open_video, video_stream

_LEAD = 20.0  # seconds to decode before the segment: more than any usual distance of key frames


@dataclass(frozen=True)
class Seen:
    """What decoding found."""

    num_frames: int  # good ones, inside the segment
    damaged: int  # those that are not
    duration: Fraction  # seconds from the first frame to the end of the last


def look_closely(source: Path, info: SourceInfo, start: float | None, end: float | None, timeout: float) -> Seen:
    """Decode ``[start, end)`` and tell damage from harmless oddities, such as hidden frames that have packets.

    Raises:
        TimedOut: after ``timeout`` seconds.
        MediaError: see ``open_video``.
    """
    low = info.tick_of(start) if start else None
    high = info.tick_of(end) if end is not None else None
    good: list[tuple[int, int]] = []
    damaged = 0
    for tick, ticks, sound in _decoded(source, info, start, high, time.monotonic() + timeout):
        if (low is not None and tick < low) or (high is not None and tick >= high):
            continue
        if sound:
            good.append((tick, ticks))
        else:
            damaged += 1
    if not good:
        return Seen(0, damaged, Fraction(0))
    good.sort()
    length = (sum(good[-1]) - good[0][0]) * info.time_base
    return Seen(len(good), damaged + _missing([tick for tick, _ in good]), length)


def _decoded(
    source: Path, info: SourceInfo, start: float | None, high: int | None, deadline: float
) -> list[tuple[int, int, bool]]:
    """(tick, length in ticks, whether it is sound) of the frames, and of the packets that gave an error."""
    import av

    found: list[tuple[int, int, bool]] = []
    usual = round(1 / (info.average_rate * info.time_base)) if info.average_rate else 0
    with open_video(source) as container:
        stream = video_stream(container)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode"}
        if start and info.seekable and start > 2 * _LEAD:
            container.seek(info.tick_of(start - _LEAD), stream=stream, backward=True)
        for packet in container.demux(stream):
            if time.monotonic() > deadline:
                raise TimedOut(f"a second look at {source.name} took too long")
            tick = packet.pts if packet.pts is not None else packet.dts
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if tick is not None and not packet.is_discard:
                    found.append((tick, usual, False))
                continue
            for frame in frames:
                if frame.pts is not None:
                    found.append((frame.pts, frame.duration or usual, not (frame.is_corrupt or packet.is_corrupt)))
            if high is not None and packet.dts is not None and packet.dts >= high and not packet.is_discard:
                if frames and frames[-1].pts is not None and frames[-1].pts >= high:
                    break
    return found


def _missing(ticks: list[int]) -> int:
    """Frames that a steady clock lacks; none where the clock is not steady by nature."""
    steps = [later - earlier for earlier, later in zip(ticks, ticks[1:], strict=False)]
    if len(steps) < 8:
        return 0
    usual = median(steps)
    holes = [step for step in steps if step > 1.7 * usual]
    steady = sum(abs(step - usual) <= 0.25 * usual for step in steps)
    if steady + len(holes) < len(steps) or len(holes) > len(steps) / 10:
        return 0
    return sum(round(step / usual) - 1 for step in holes)
