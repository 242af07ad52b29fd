"""The one ffmpeg graph of the project, and how a process of it is run, bounded and killed.

ffmpeg comes inside the package ``imageio-ffmpeg``; the graph is written with ``ffmpeg-python``.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from vidclf.config import ClipProfile
from vidclf.errors import Crashed, TimedOut, Unreadable, Unsafe
from vidclf.media.probe import MAX_PIXELS, SAFE_FORMATS, SAFE_PROTOCOLS, SourceInfo
from vidclf.processes import die_with_parent
from vidclf.scratch import NO_ROOM, out_of

SEEK_MARGIN = 1.0  # seconds decoded before the segment, so that the trim decides and not the seek

#: Bumped when a change of this module changes the bytes of clips.
GRAPH_VERSION = 2

#: Bytes. Measured: 3840x2160 as H.264, HEVC in 10 bit, VP9 and AV1, and 8192x4320 as H.264, to 256 and to 2160 lines with
#: preset slow, all pass with 1.5 GiB.
MAX_ADDRESS_SPACE = 4 * 2**30
MAX_ALLOCATION = 2**30  # bytes in one block
MAX_OUTPUT = 8 * 2**30  # bytes of one clip
_TAIL = 16_384  # bytes kept of what ffmpeg says: a hostile file can make it talk without end

#: What it says when it gets no memory; it may go on all the same, without the frames.
_STARVED = (b"Cannot allocate memory", b"malloc of size")

#: What ffmpeg says when packets or frames were damaged, though it goes on and ends well.
_COMPLAINTS = (b"Error submitting packet to decoder", b"corrupt decoded frame", b"corrupt input packet", b"[error]")


def cut_command(
    source: Path,
    info: SourceInfo,
    start: float | None,
    end: float | None,
    profile: ClipProfile,
    to: Path,
    margin: float = SEEK_MARGIN,
    first: Fraction | None = None,
) -> list[str]:
    """Seek, exact trim, scale and encode as one ffmpeg command.

    The trim is in ticks of the stream's own time base, so that a frame belongs to ``[start, end)`` by its exact time
    and not by a rounded one. One thread and bit-exact flags: the bytes do not depend on the machine's cores.

    Args:
        start, end: seconds from the file's beginning; None: from or to its end.
        margin: seconds to decode before the segment; infinite: all of them.
        first: seconds from the file's beginning to the first frame of the segment, where the sound begins with it;
            None: at ``start``.
    """
    import ffmpeg

    options: dict[str, object] = {"threads": 1, "max_pixels": MAX_PIXELS}
    options |= {"reinit_filter": 0}  # a picture that changes its size would start the trim and the clock anew
    options |= {"format_whitelist": SAFE_FORMATS, "protocol_whitelist": SAFE_PROTOCOLS}
    if start and info.seekable and start > 2 * margin:
        options |= {"ss": f"{start - margin:.6f}", "noaccurate_seek": None}
    opened = ffmpeg.input(f"file:{source}", copyts=None, **options)
    streams = [_picture(opened[str(info.index)], info, start, end, profile)]
    encoder: dict[str, object] = {
        "vcodec": "libx264", "preset": profile.preset, "crf": profile.crf, "g": profile.gop, "threads": 1,
        "fflags": "+bitexact", "flags:v": "+bitexact", "map_metadata": -1, "map_chapters": -1,
        "movflags": "+faststart", "format": "mp4",
    }  # fmt: skip
    if profile.fps is None:
        encoder |= {"fps_mode": "passthrough", "enc_time_base": "filter"}
    if profile.audio and info.has_audio:
        streams.append(_sound(opened["a:0"], info, first if first is not None else start, end))
        encoder |= {"acodec": "aac", "b:a": "128k", "flags:a": "+bitexact"}
    output = ffmpeg.output(*streams, f"file:{to}", **encoder)
    output = output.global_args("-hide_banner", "-nostdin", "-loglevel", "level+warning", "-filter_threads", "1")
    output = output.global_args("-max_alloc", str(MAX_ALLOCATION))
    return list(output.compile(cmd=executable(), overwrite_output=True))


def _picture(stream: Any, info: SourceInfo, start: float | None, end: float | None, profile: ClipProfile) -> Any:
    bounds: dict[str, int] = {}
    if start:
        bounds["start_pts"] = info.tick_of(start)
    if end is not None:
        bounds["end_pts"] = info.tick_of(end)
    if bounds:
        stream = stream.filter("trim", **bounds)
    stream = stream.filter("setpts", "PTS-STARTPTS")
    if profile.fps is not None:
        stream = stream.filter("fps", fps=str(Fraction(profile.fps).limit_denominator(1001)))
    width, height = _scaled_size(profile.short_side)
    stream = stream.filter("scale", width, height, flags="bicubic+accurate_rnd+bitexact", out_range="tv")
    return stream.filter("setsar", 1).filter("format", "yuv420p")


def _sound(stream: Any, info: SourceInfo, start: Fraction | float | None, end: float | None) -> Any:
    """The sound from the first frame to the segment's end, to the sample; silence where it begins later or has holes."""
    begin = float(info.start + Fraction(start or 0))
    bounds = {"start": f"{begin:.6f}"}
    if end is not None:
        bounds["end"] = f"{float(info.start + Fraction(str(end))):.6f}"
    stream = stream.filter("atrim", **bounds).filter("asetpts", f"PTS-{begin:.6f}/TB")
    return stream.filter("aresample", **{"async": 1, "first_pts": 0}).filter("aformat", channel_layouts="mono|stereo")


def _scaled_size(short_side: int) -> tuple[str, str]:
    """Width and height for the scale filter: the short side at most ``short_side``, nothing enlarged, both even.

    Of the picture as it is shown: pixels that are not square are made so. A shape beyond 1 : 4 is taken for nonsense.
    """
    shown = "iw*if(between(sar,1/4,4),sar,1)"
    short = f"max(2,2*trunc(min({short_side},min({shown},ih))/2))"
    width = f"max(2,2*round(max({short},{short}*{shown}/ih)/2))"
    height = f"max(2,2*round(max({short},{short}*ih/({shown}))/2))"
    return width, height


@cache
def executable() -> str:
    """The path of ffmpeg."""
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def run(command: list[str], timeout: float) -> bool:
    """Run ffmpeg in a process group of its own, which dies with us, also by a kill -9.

    Returns:
        Whether it complained of damage, though it ended well.

    Raises:
        TimedOut: after ``timeout`` seconds; the whole group is killed.
        Unreadable: ffmpeg failed; with the last thing that it said.
        Unsafe: it needed more memory than it gets.
        Crashed: a signal ended it: its own fault, or the machine's.
        StorageError: there is no room for what it writes.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_confine(os.getpid()),
    ) as process:
        try:
            said, heard = _listen(process, time.monotonic() + timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, TimeoutError):
                raise TimedOut(f"ffmpeg took longer than {timeout:g} s") from None
            raise
    if process.returncode < 0:
        raise Crashed(f"ffmpeg was ended by {signal.Signals(-process.returncode).name}")
    if heard.intersection(_STARVED):
        raise Unsafe(f"decoding it takes more than {MAX_ADDRESS_SPACE / 2**30:.1f} GiB of memory")
    if 256 - process.returncode in NO_ROOM:  # the last byte of -errno
        raise out_of(256 - process.returncode)
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()
        raise Unreadable(lines[-1][:500] if lines else f"ffmpeg ended with status {process.returncode}")
    return bool(heard)


def _confine(parent: int) -> Callable[[], None]:
    """For ``preexec_fn``: no more memory, disk or life than a clip may cost."""

    def confine() -> None:
        die_with_parent()
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_OUTPUT, MAX_OUTPUT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return confine


def _listen(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, set[bytes]]:
    """The end of what the process says until it ends, and which of the telling phrases it said at any time.

    Raises:
        TimeoutError: it did not end before ``deadline``.
    """
    assert process.stderr is not None
    tail, heard = b"", set[bytes]()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stderr, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            said = os.read(process.stderr.fileno(), 65_536)
            if not said:
                break
            tail = tail[-_TAIL:] + said
            heard |= {phrase for phrase in (*_COMPLAINTS, *_STARVED) if phrase in tail}
            if time.monotonic() > deadline:
                raise TimeoutError
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return tail[-_TAIL:], heard
