"""The second look at a segment that did not come out as its packets promised: which of its frames can be decoded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
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


@dataclass(frozen=True, order=True)
class _Frame:
    tick: int
    ticks: int  # how long it is shown
    sound: bool  # False also for a packet that gave an error


def look_closely(source: Path, info: SourceInfo, start: float | None, end: float | None, timeout: float) -> Seen:
    """Decode ``[start, end)`` and tell damage from harmless oddities, such as hidden frames that have packets.

    Raises:
        TimedOut: after ``timeout`` seconds.
        MediaError: see ``open_video``.
    """
    low = info.tick_of(start) if start else None
    high = info.tick_of(end) if end is not None else None
    found = sorted(_decoded(source, info, start, high, time.monotonic() + timeout))
    before = [frame for frame in found if low is not None and frame.tick < low]
    after = [frame for frame in found if high is not None and frame.tick >= high]
    inside = found[len(before) : len(found) - len(after)]
    good = [frame for frame in inside if frame.sound]
    clock = [frame.tick for frame in (*before[-1:], *inside, *after[:1])]
    damaged = max(len(inside) - len(good), _missing(clock))
    if not good:
        return Seen(0, damaged, Fraction(0))
    length = (good[-1].tick + good[-1].ticks - good[0].tick) * info.time_base
    return Seen(len(good), damaged, length)


def _decoded(source: Path, info: SourceInfo, start: float | None, high: int | None, deadline: float) -> list[_Frame]:
    """The frames from some time before the segment to the first ones behind it, and the packets that gave an error."""
    import av

    found: list[_Frame] = []
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
                    found.append(_Frame(tick, usual, False))
                continue
            for frame in frames:
                if frame.pts is not None:
                    sound = not (frame.is_corrupt or packet.is_corrupt)
                    found.append(_Frame(frame.pts, frame.duration or usual, sound))
            shown = frames[-1].pts if frames else None
            if (
                high is not None
                and packet.dts is not None
                and packet.dts >= high
                and shown is not None
                and shown >= high
            ):
                break
    return found


def _missing(ticks: list[int]) -> int:
    """Frames that a steady clock lacks; none where the clock is not steady by nature."""
    steps = [later - earlier for earlier, later in pairwise(ticks)]
    if len(steps) < 8:
        return 0
    usual = median(steps)
    holes = [step for step in steps if step > 1.7 * usual]
    steady = sum(abs(step - usual) <= 0.25 * usual for step in steps)
    if steady + len(holes) < len(steps) or len(holes) > len(steps) / 4:
        return 0
    return sum(round(step / usual) - 1 for step in holes)
