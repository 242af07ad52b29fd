"""A segment of a source video becomes a clip: one ffmpeg process, one encode, checked before anybody sees it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vidclf.clips import VideoInfo
from vidclf.config import ClipProfile, fingerprint
from vidclf.errors import NoVideo, OutOfRange, TooShort, Unreadable
from vidclf.media import ffmpeg
from vidclf.media.damage import look_closely
from vidclf.media.probe import Segment, SourceInfo, probe_clip, survey


def recipe_of(profile: ClipProfile) -> str:
    """The recipe_id of clips made by ``profile`` with this code."""
    return fingerprint({"clips": profile.model_dump(mode="json"), "graph": ffmpeg.GRAPH_VERSION})


def cut(
    source: Path, start: float | None, end: float | None, profile: ClipProfile, to: Path, timeout: float
) -> VideoInfo:
    """Cut ``[start, end)`` out of ``source`` and encode it to the local file ``to``, which appears when it is checked.

    A frame is in the clip when its time, counted from the file's beginning, is at least ``start`` and less than
    ``end``. Where the video ends before ``end``, the clip ends with it.

    A sound is kept with ``profile.audio``; one that is missing, or so broken that ffmpeg gives up on it, leaves a clip
    without. With ``profile.fps`` the clip has round(duration · fps) frames, at least one, and frame k is what the source
    shows (k + ½) / fps after the segment's first frame.

    Args:
        start, end: seconds; None: the video's beginning, its end.
        timeout: seconds for each process of ffmpeg; there is one, or two where the first was no good.

    Raises:
        OutOfRange: the video ends before ``start``.
        TooShort: less than ``profile.min_duration`` seconds remain, or no frame begins within the segment.
        Unreadable: damaged; also where fewer frames came out than the segment holds.
        NoVideo, Unsafe, Crashed, TimedOut: see there.
    """
    info, segment = survey(source, start, end, ffmpeg.SEEK_MARGIN)
    _require(segment, info, start, end)
    part = to.with_name(to.name + ".part")
    try:
        clip = _made(_Cut(source, info, segment, start, end, profile, part, timeout))
        if clip.duration < profile.min_duration:
            raise TooShort(f"{clip.duration:.2f} s, and {profile.min_duration:g} s are wanted")
        os.replace(part, to)
    finally:
        part.unlink(missing_ok=True)
    return clip


@dataclass(frozen=True)
class _Cut:
    source: Path
    info: SourceInfo
    segment: Segment
    start: float | None
    end: float | None
    profile: ClipProfile
    to: Path
    timeout: float


def _require(segment: Segment, info: SourceInfo, start: float | None, end: float | None) -> None:
    """Whether it is worth a process at all."""
    video_end = None if segment.video_end is None else float(segment.video_end)
    if not segment.complete:
        raise Unreadable(f"damaged: the file ends at {video_end:.2f} s, and declares {info.duration:.2f} s")
    if segment.num_frames:
        return
    if video_end is not None and video_end <= 0:
        raise Unreadable("it holds no frame")
    if video_end is not None and start and start >= video_end:
        raise OutOfRange(f"the segment begins at {start:g} s, but the video ends at {video_end:.2f} s")
    raise TooShort(f"no frame begins between {start or 0:g} s and {end} s")


def _made(work: _Cut) -> VideoInfo:
    """Encode; where the result is not what the packets promised, find out why by decoding, and try without seeking."""
    clip, complained = _encode(work, ffmpeg.SEEK_MARGIN)
    if clip and not complained and _agrees(clip, work.segment.num_frames, work.segment.duration, work.profile):
        return clip
    seen = look_closely(work.source, work.info, work.start, work.end, work.timeout)
    if seen.damaged:
        raise Unreadable(
            f"damaged: {seen.damaged} of about {max(work.segment.num_frames, seen.num_frames + seen.damaged)} frames "
            f"between {work.start or 0:g} s and {'the end' if work.end is None else f'{work.end:g} s'} cannot be decoded"
        )
    if clip and _agrees(clip, seen.num_frames, seen.duration, work.profile):
        return clip
    clip, _ = _encode(work, math.inf)
    if clip and _agrees(clip, seen.num_frames, seen.duration, work.profile):
        return clip
    raise Unreadable(f"{clip.num_frames if clip else 0} frames came out, and the segment holds {seen.num_frames}")


def _encode(work: _Cut, margin: float) -> tuple[VideoInfo | None, bool]:
    """The clip, None where nothing came out, and whether ffmpeg complained. A sound that cannot be had is left out."""
    silent = work.profile.model_copy(update={"audio": False})
    sounding = work.profile.audio and work.info.has_audio
    for profile in [work.profile, silent] if sounding else [silent]:
        command = ffmpeg.cut_command(
            work.source, work.info, work.start, work.end, profile, work.to, margin, work.segment.first
        )
        try:
            complained = ffmpeg.run(command, work.timeout)
            return probe_clip(work.to), complained
        except (Unreadable, NoVideo):
            if profile is silent and margin == math.inf:
                raise
    return None, True


def _agrees(clip: VideoInfo, num_frames: int, duration: Fraction, profile: ClipProfile) -> bool:
    """Whether a clip holds as many frames as were found, and is as long within one frame."""
    if profile.fps is not None:
        rate = Fraction(profile.fps).limit_denominator(1001)
        return abs(clip.num_frames - duration * rate) <= 1
    return clip.num_frames == num_frames and abs(clip.duration - duration) <= duration / num_frames + Fraction(1, 1000)
