"""A section of a long video, read by ranges from where it lies, copied without encoding, and exact.

The packets from the last key frame before the section to its end become a file of their own. Their times are taken over
tick by tick, and the one thing that is new, where the file begins in the video, is known from the first packet: so a
frame that is cut out of the section by its time is the very frame that would have been cut out of the whole video.
ffmpeg's own ``-ss … -c copy`` begins at an earlier key frame, too, and does not say at which.
"""

from __future__ import annotations

import io
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from vidclf.errors import Unreachable
from vidclf.media.probe import SAFE_FORMATS
from vidclf.sources import Fetched

if TYPE_CHECKING:
    import av
    import av.container
    import av.video.stream

MARGIN = 2.0  # seconds before and after the segment; the cut decodes one second before it
BLOCK = 1 << 19  # bytes per request
KEPT_BLOCKS = 8  # a file's index and its data are read by turns
MUXERS = {
    "mov": "mp4",
    "matroska": "matroska",
}  # both keep the ticks of what they are given, where it came from the same

#: How much later than exact ``begins_at`` is said to be: less than any container's tick, and more than the error of the
#: caller's subtraction in floats, which would otherwise push a frame that lies exactly on a boundary over it.
NUDGE = 5e-7


class NoSection(Exception):
    """The section cannot be had alone; the whole video can."""


@dataclass(frozen=True)
class Part:
    """The answer to a ranged request."""

    data: bytes
    total: int  # bytes of the whole file


Ranged = Callable[[int, int], Part]  # (first byte, byte after the last) → Part


class RangeFile(io.RawIOBase):
    """A remote file, read block by block through ``ranged``; ``failure`` keeps what went wrong, for demuxers swallow it.

    Args:
        rate_limit: bytes per second; None: no bound.
    """

    def __init__(self, ranged: Ranged, rate_limit: int | None = None):
        self._ranged, self._rate_limit = ranged, rate_limit
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0
        self.failure: Exception | None = None
        first = self._request(0)
        self.total = first.total
        self._blocks[0] = first.data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.total}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """At most to the end of a block: readers of files ask again."""
        if self._position >= self.total:
            return b""
        number, within = divmod(self._position, BLOCK)
        block = self._block(number)
        data = block[within:] if size < 0 else block[within : within + size]
        self._position += len(data)
        return data

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            try:
                part = self._request(number)
                if part.total != self.total:
                    raise Unreachable("the video was replaced while it was read")
            except Exception as error:
                self.failure = error
                raise
            self._blocks[number] = part.data
            while len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _request(self, number: int) -> Part:
        begin = time.monotonic()
        part = self._ranged(number * BLOCK, (number + 1) * BLOCK)
        if len(part.data) != min(BLOCK, part.total - number * BLOCK):
            raise Unreachable(f"cut short: {len(part.data):,} bytes of a part of the video")
        if self._rate_limit is not None:
            time.sleep(max(0.0, len(part.data) / self._rate_limit - (time.monotonic() - begin)))
        return part


def total_of(content_range: str | None) -> int:
    """The whole file's size out of ``Content-Range: bytes 0-9/100``.

    Raises:
        NoSection: it does not say.
    """
    match = re.fullmatch(r"bytes \d+-\d+/(\d+)", content_range or "")
    if match is None:
        raise NoSection("the host does not say how large the file is")
    return int(match[1])


def copy_section(file: RangeFile, start: float, end: float, longer_than: float, into: Path) -> Fetched:
    """Copy what holds ``[start, end)`` of the video into a file in ``into``.

    Args:
        start, end: seconds, as the caller will cut: from the container's beginning.
        longer_than: seconds; of a video that is not longer, the whole is better.

    Returns:
        ``begins_at`` is the time of the file's first frame, and at most half a microsecond late (see ``NUDGE``);
        ``ends_at`` is None where the section reaches to the video's end.

    Raises:
        NoSection: the container is none whose times survive a copy, or has no key frame where one is needed.
        Unreachable: the video ends before it should. What ``file`` raises, too.
    """
    import av

    try:
        with av.open(file, mode="r", options={"format_whitelist": SAFE_FORMATS}) as source:
            fetched = _copy(source, start, end, longer_than, into)
    except (av.FFmpegError, NoSection) as error:
        for path in into.glob("section.*"):
            path.unlink()
        if file.failure is not None:
            raise file.failure from None
        raise NoSection(str(error)) from None
    if file.failure is not None:
        raise file.failure
    return fetched


@dataclass(frozen=True)
class Clock:
    """How a container counts time."""

    tick: Fraction  # seconds
    zero: int  # ticks at its beginning, as the cut has it: see media/probe.py

    def seconds(self, ticks: int) -> Fraction:
        """Time from the container's beginning."""
        return (ticks - self.zero) * self.tick


def _copy(source: av.container.InputContainer, start: float, end: float, longer_than: float, into: Path) -> Fetched:
    muxer = MUXERS.get(source.format.name.partition(",")[0])
    if muxer is None or not source.streams.video:
        raise NoSection(f"a {source.format.name} file is fetched whole")
    stream = source.streams.video[0]
    tick = stream.time_base
    if tick is None or (muxer == "matroska" and tick != Fraction(1, 1000)):
        raise NoSection("its times would be rounded")
    duration = source.duration / 1_000_000 if source.duration is not None else None
    if duration is None or duration <= longer_than:
        raise NoSection("it is short")
    clock = Clock(tick, round(Fraction(source.start_time or 0, 1_000_000) / tick))
    source.seek(clock.zero + math.floor(Fraction(max(0.0, start - MARGIN)) / tick), stream=stream)

    path = into / f"section.{'mp4' if muxer == 'mp4' else 'mkv'}"
    times = _remux(source, stream, path, muxer, clock.zero + math.ceil(Fraction(end + MARGIN) / tick))
    if times is None or clock.seconds(times.first) > start:
        raise NoSection("no key frame before the section")
    if times.to_the_end and clock.seconds(times.last) < min(end, duration) - 0.5:
        ended = float(clock.seconds(times.last))
        raise Unreachable(f"cut short: the video ends at {ended:.2f} of {duration:.2f} s")
    begins_at = clock.seconds(times.first)
    return Fetched(path, float(begins_at) + (NUDGE if begins_at else 0.0), None if times.to_the_end else end + MARGIN)


@dataclass(frozen=True)
class Copied:
    """What part of a video was copied, in ticks."""

    first: int  # of the first frame in time
    last: int  # the last frame's end
    to_the_end: bool  # of the video


def _remux(
    source: av.container.InputContainer, stream: av.video.stream.VideoStream, path: Path, muxer: str, stop: int
) -> Copied | None:
    """Copy packets from where ``source`` stands to ``stop``; None: there is none that a decoder can begin with."""
    import av

    first: int | None = None
    last, to_the_end = 0, True
    with av.open(str(path), "w", format=muxer) as output:
        target = output.add_stream_from_template(stream, opaque=True)  # no encoder is needed, nor there for every codec
        target.time_base = stream.time_base
        for packet in _in_order(source.demux(stream)):
            assert packet.pts is not None
            assert packet.dts is not None
            if packet.dts >= stop:  # all frames before it in time came before it
                to_the_end = False
                break
            if first is None:
                if not packet.is_keyframe:
                    return None
                first = packet.pts
            if packet.pts < first:
                continue  # leads into the key frame from the frames before it, which are not here
            last = max(last, packet.pts + (packet.duration or 0))
            packet.pts, packet.dts = packet.pts - first, packet.dts - first
            packet.stream = target
            output.mux(packet)
    return None if first is None else Copied(first, last, to_the_end)


def _in_order(packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
    """Packets with both their times. Matroska knows no decoding times, and has none for the first ones after a seek."""
    waiting: list[av.Packet] = []
    for packet in packets:
        if packet.pts is None:
            continue  # the demuxer's farewell
        if packet.dts is None:
            waiting.append(packet)
            continue
        for before, early in enumerate(reversed(waiting), 1):
            early.dts = packet.dts - before  # in order, and never after the frame's own time
        yield from waiting
        waiting.clear()
        yield packet
