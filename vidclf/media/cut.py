"""A segment of a source video becomes a clip: one ffmpeg process, one encode, checked before anybody sees it."""

from __future__ import annotations

from pathlib import Path

from vidclf.clips import VideoInfo
from vidclf.config import ClipProfile, fingerprint
from vidclf.errors import OutOfRange, TooShort, Unreadable
from vidclf.media import ffmpeg
from vidclf.media.probe import SourceInfo, probe_clip, probe_source


def recipe_of(profile: ClipProfile) -> str:
    """The recipe_id of clips made by ``profile`` with this code."""
    return fingerprint({"clips": profile.model_dump(mode="json"), "graph": ffmpeg.GRAPH_VERSION})


def cut(
    source: Path, start: float | None, end: float | None, profile: ClipProfile, to: Path, timeout: float
) -> VideoInfo:
    """Cut ``[start, end)`` out of ``source`` and encode it to the local file ``to``.

    A frame is in the clip when its time, counted from the file's beginning, is at least ``start`` and less than
    ``end``. Where the video ends before ``end``, the clip ends with it.

    Args:
        start, end: seconds; None: the video's beginning, its end.
        timeout: seconds for ffmpeg.

    Raises:
        OutOfRange: the video ends before ``start``.
        TooShort: less than ``profile.min_duration`` seconds remain.
        Unreadable: damaged; also where fewer frames came out than the segment holds.
        NoVideo, Unsafe, TimedOut: see there.
    """
    info = probe_source(source)
    if start and info.duration is not None and start >= info.duration:
        raise OutOfRange(f"the segment begins at {start:g} s, but the video ends at {info.duration:.2f} s")
    ffmpeg.run(ffmpeg.cut_command(source, info, start, end, profile, to), timeout)
    try:
        clip = probe_clip(to)
    except Unreadable:
        raise Unreadable(f"no frame could be decoded between {start or 0:g} s and {end} s") from None
    expected = _expected_duration(info, start, end)
    if expected is not None and clip.duration < expected - _tolerance(info, clip):
        raise Unreadable(f"damaged: only {clip.duration:.2f} of {expected:.2f} s could be decoded")
    if clip.duration < profile.min_duration:
        raise TooShort(f"{clip.duration:.2f} s, and {profile.min_duration:g} s are wanted")
    return clip


def _expected_duration(info: SourceInfo, start: float | None, end: float | None) -> float | None:
    ends = [time for time in (end, info.duration) if time is not None]
    return min(ends) - (start or 0.0) if ends else None


def _tolerance(info: SourceInfo, clip: VideoInfo) -> float:
    """Two frames, and a quarter second for containers that declare roughly; more is missing footage."""
    rate = float(info.average_rate) if info.average_rate else clip.fps
    return 0.25 + (2 / rate if rate else 0.0)
