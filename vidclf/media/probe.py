"""What a video file is, found out without trusting it. Everything that opens a video goes through ``open_video``."""

from __future__ import annotations

import contextlib
import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from vidclf.clips import VideoInfo
from vidclf.errors import NoVideo, Unreadable, Unsafe

if TYPE_CHECKING:
    import av.container
    import av.video.stream

#: Demuxers of real video containers. Playlists, concat scripts and the like open other files, so they are not here.
SAFE_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif,swf,wav,mp3"
SAFE_PROTOCOLS = "file,pipe"
MAX_PIXELS = 8192 * 4320  # a decoder's buffers grow with the declared size, whatever the file holds

#: Demuxers whose seek never lands behind its target; the others are decoded from their beginning.
_SEEKABLE = ("mov,", "matroska,", "avi")
_OPEN_TIMEOUT = 30.0  # seconds to open a file, and to read one packet: a local file's take milliseconds
_ROUGH = Fraction(1, 4)  # seconds by which containers misstate a duration


@dataclass(frozen=True)
class SourceInfo:
    """A source video as its container declares it."""

    index: int  # of the video stream
    time_base: Fraction  # seconds per tick of the video stream
    start: Fraction  # seconds: the timestamp of the file's beginning, from which segments are counted
    duration: float | None  # seconds from its beginning to the end of its video; None where it is not declared
    average_rate: Fraction | None  # frames per second
    seekable: bool  # seeking before the segment loses no frame
    has_audio: bool  # a sound that could be decoded

    def tick_of(self, seconds: float) -> int:
        """The first tick at or after a time that is counted from the file's beginning.

        To the microsecond: the time of a frame, such as 100 · 1001 / 30000, is not a float, and may be asked for
        all the same.
        """
        asked = self.start + Fraction(str(seconds))
        return math.ceil((asked - Fraction(1, 2_000_000)) / self.time_base)


@dataclass(frozen=True)
class Segment:
    """What ``[start, end)`` of a source must hold, told by its packets alone: nothing is decoded."""

    num_frames: int
    first: Fraction  # seconds from the file's beginning to its first frame; 0 where there is none
    until: Fraction  # and to the end of its last frame
    video_end: Fraction | None  # seconds, the end of the whole video; None: reading stopped before
    complete: bool  # the file does not end before what it declares

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame to the end of the last one."""
        return self.until - self.first


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a local file with PyAV, restricted to real containers and to this one file.

    Raises:
        Unsafe: not a regular file, or its declared picture is too large.
        NoVideo: it holds no video stream; a cover picture is none.
        Unreadable: it cannot be opened or decoded; also for errors inside the ``with`` block.
    """
    import av

    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Unreadable(f"{path.name}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise Unsafe(f"{path.name} is not a regular file")
    options = {"format_whitelist": SAFE_FORMATS, "protocol_whitelist": SAFE_PROTOCOLS, "max_pixels": str(MAX_PIXELS)}
    try:
        with av.open(f"file:{path}", options=options, timeout=_OPEN_TIMEOUT) as container:
            context = video_stream(container, path.name).codec_context
            if context is None:
                raise Unreadable(f"{path.name}: its video codec is not supported")
            if context.width * context.height > MAX_PIXELS:
                raise Unsafe(f"{path.name} declares {context.width}x{context.height} pixels")
            yield container
    except av.FFmpegError as error:
        raise Unreadable(f"{path.name}: {error.strerror or error}") from None


def video_stream(container: av.container.InputContainer, name: str = "the file") -> av.video.stream.VideoStream:
    """The first stream of moving pictures.

    Raises:
        NoVideo: there is none.
    """
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails):
            return stream
    raise NoVideo(f"{name} has no video stream")


def pixel_aspect(stream: av.video.stream.VideoStream) -> Fraction:
    """Width by height of one pixel; a shape beyond 1 : 4 is taken for nonsense, as a clip's own scaling does."""
    aspect = stream.sample_aspect_ratio
    return aspect if aspect and Fraction(1, 4) <= aspect <= 4 else Fraction(1)


def probe_source(path: Path) -> SourceInfo:
    """Read what the container declares.

    Raises:
        MediaError: see ``open_video``.
    """
    with open_video(path) as container:
        return _source_info(container, path.name)


def survey(path: Path, start: float | None, end: float | None, margin: float) -> tuple[SourceInfo, Segment]:
    """What the container declares, and what ``[start, end)`` of it must hold.

    Args:
        start, end: seconds from the file's beginning; None: from or to its end.
        margin: seconds before the segment at which reading begins, where the container can be sought; infinite:
            at the file's beginning.

    Raises:
        MediaError: see ``open_video``.
    """
    with open_video(path) as container:
        info = _source_info(container, path.name)
        low = info.tick_of(start) if start else None
        high = info.tick_of(end) if end is not None else None
        stream = video_stream(container)
        frames, ended = _timestamps(container, stream, info, low, high, margin)
    if not frames and margin != math.inf:  # nothing from where it was sought: what there is, is before
        return survey(path, start, end, math.inf)
    inside = [(tick, ticks) for tick, ticks in frames if (low is None or tick >= low) and (high is None or tick < high)]
    seconds = info.time_base
    video_end = max((tick + ticks for tick, ticks in frames), default=0) * seconds - info.start if ended else None
    complete = video_end is None or (end is not None and end <= video_end) or _reaches_its_end(path, info, video_end)
    if not inside:
        return info, Segment(0, Fraction(0), Fraction(0), video_end, complete)
    first, (last, last_ticks) = min(inside)[0], max(inside)
    segment = Segment(
        len(inside),
        first * seconds - info.start,
        (last + last_ticks) * seconds - info.start,
        video_end,
        complete,
    )
    return info, segment


def probe_clip(path: Path) -> VideoInfo:
    """Count a finished clip's frames and time, from its packets.

    Raises:
        MediaError: see ``open_video``; ``Unreadable`` also where there is no frame.
    """
    with open_video(path) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None  # our own encode
        times = [(packet.pts, packet.duration or 0) for packet in container.demux(stream) if packet.pts is not None]
        if not times:
            raise Unreadable(f"{path.name} holds no frame")
        ticks = max(pts + duration for pts, duration in times) - min(pts for pts, _ in times)
        duration = float(ticks * stream.time_base)
        fps = len(times) / duration if duration > 0 else 0.0
        context = stream.codec_context
        return VideoInfo(context.width, context.height, round(fps, 6), round(duration, 6), len(times))


def _source_info(container: av.container.InputContainer, name: str) -> SourceInfo:
    stream = video_stream(container, name)
    if stream.time_base is None:
        raise Unreadable(f"{name} declares no time base")
    start = _beginning(container, stream)
    duration: Fraction | None = None
    if container.duration is not None:
        duration = Fraction(container.duration, 1_000_000)
    if stream.duration is not None and stream.duration > 0:
        begin = stream.start_time if stream.start_time is not None else 0
        duration = (begin + stream.duration) * stream.time_base - start
    return SourceInfo(
        stream.index,
        stream.time_base,
        start,
        None if duration is None else float(duration),
        stream.average_rate,
        seekable=container.format.name.startswith(_SEEKABLE),
        has_audio=any(sound.codec_context is not None for sound in container.streams.audio),
    )


def _beginning(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Fraction:
    """What the file calls its beginning, as exactly as one of its streams says it: the container's own is rounded."""
    assert stream.time_base is not None
    if container.format.name == "avi":
        return _first_shown(container, stream) * stream.time_base
    rounded = Fraction(container.start_time or 0, 1_000_000)
    exact = [s.start_time * s.time_base for s in container.streams if s.start_time is not None and s.time_base]
    return next((time for time in exact if abs(time - rounded) <= Fraction(1, 1_000_000)), rounded)


def _first_shown(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> int:
    """The tick that decoders give the first frame of an AVI, which stores no time of showing: with B-frames it is not 0."""
    for frame in container.decode(stream):
        assert isinstance(frame.pts, int | None)
        container.seek(0)
        return frame.pts or 0
    return 0


def _timestamps(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    info: SourceInfo,
    low: int | None,
    high: int | None,
    margin: float,
) -> tuple[list[tuple[int, int]], bool]:
    """(tick, length in ticks) of the frames from before ``low`` until ``high``, and whether the file ended before it."""
    import av

    frames: list[tuple[int, int]] = []
    usual = round(1 / (info.average_rate * info.time_base)) if info.average_rate else 0
    hides = stream.codec_context.name == "vp8"  # its alternate references are packets of their own: RFC 6386, 9.1
    shift = round(info.start / info.time_base) if container.format.name == "avi" else 0
    if low is not None and info.seekable and (low * info.time_base - info.start) > 2 * margin:
        container.seek(low - round(Fraction(margin) / info.time_base), stream=stream, backward=True)
    try:
        for packet in container.demux(stream):
            shown = packet.dts + shift if packet.pts is None and packet.dts is not None else packet.pts
            if shown is None or packet.is_discard or not packet.size or (hides and not bytes(packet)[0] & 0x10):
                continue
            frames.append((shown, packet.duration or usual))
            if high is not None and (packet.dts if packet.dts is not None else shown) >= high:
                return frames, False
    except av.FFmpegError:  # the file ends here, whatever it declares
        pass
    return frames, True


def _reaches_its_end(path: Path, info: SourceInfo, video_end: Fraction) -> bool:
    """Whether some stream goes on until the declared end: a picture may stop before its sound."""
    if info.duration is None:
        return True
    frame = 1 / info.average_rate if info.average_rate else Fraction(1, 10)
    enough = Fraction(info.duration) - _ROUGH - 2 * frame
    if video_end >= enough:
        return True
    import av

    furthest = Fraction(0)
    with open_video(path) as container:
        by_clock = info.start if container.format.name.startswith("matroska") else Fraction(0)  # counted from 0 there
        with contextlib.suppress(av.FFmpegError):
            for packet in container.demux():
                if packet.pts is not None and packet.time_base:
                    furthest = max(furthest, (packet.pts + (packet.duration or 0)) * packet.time_base)
    return furthest - info.start + by_clock >= enough
