"""What a video file is, found out without trusting it. Everything that opens a video goes through ``open_video``."""

from __future__ import annotations

import contextlib
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

#: Demuxers of real video containers. Playlists, concat scripts and the like open other files, so they are not here.
SAFE_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc,gif,swf,wav,mp3"
SAFE_PROTOCOLS = "file,pipe"
MAX_PIXELS = 8192 * 4320  # a decoder's buffers grow with the declared size, whatever the file holds


@dataclass(frozen=True)
class SourceInfo:
    """A source video as its container declares it."""

    time_base: Fraction  # seconds per tick of the video stream
    start_ticks: int  # what the file calls its beginning, in ticks of time_base
    duration: float | None  # seconds from its beginning; None where it is not declared
    average_rate: Fraction | None  # frames per second
    seekable: bool  # seeking before the segment loses no frame


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a local file with PyAV, restricted to real containers and to this one file.

    Raises:
        Unsafe: not a regular file, or its declared picture is too large.
        NoVideo: it holds no video stream.
        Unreadable: it cannot be opened or decoded; also for errors inside the ``with`` block.
    """
    import av

    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Unreadable(f"{path.name}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise Unsafe(f"{path.name} is not a regular file")
    try:
        options = {"format_whitelist": SAFE_FORMATS, "protocol_whitelist": SAFE_PROTOCOLS}
        with av.open(str(path), options=options) as container:
            if not container.streams.video:
                raise NoVideo(f"{path.name} has no video stream")
            context = container.streams.video[0].codec_context
            if context is None:
                raise Unreadable(f"{path.name}: its video codec is not supported")
            if context.width * context.height > MAX_PIXELS:
                raise Unsafe(f"{path.name} declares {context.width}x{context.height} pixels")
            yield container
    except av.FFmpegError as error:
        raise Unreadable(f"{path.name}: {error.strerror or error}") from None


def probe_source(path: Path) -> SourceInfo:
    """Read what the container declares.

    Raises:
        MediaError: see ``open_video``.
    """
    with open_video(path) as container:
        stream = container.streams.video[0]
        if stream.time_base is None:
            raise Unreadable(f"{path.name} declares no time base")
        duration = container.duration / 1_000_000 if container.duration is not None else None
        start_time = (container.start_time or 0) / 1_000_000
        if stream.duration is not None and stream.duration > 0:
            begin = stream.start_time if stream.start_time is not None else 0
            duration = float((begin + stream.duration) * stream.time_base) - start_time
        return SourceInfo(
            stream.time_base,
            round(Fraction(container.start_time or 0, 1_000_000) / stream.time_base),
            duration,
            stream.average_rate,
            seekable=not container.format.name.startswith("mpeg"),
        )


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
