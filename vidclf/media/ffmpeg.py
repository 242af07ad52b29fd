"""The one ffmpeg graph of the project, and how a process of it is run and killed.

ffmpeg comes inside the package ``imageio-ffmpeg``; the graph is written with ``ffmpeg-python``.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path

from vidclf.config import ClipProfile
from vidclf.errors import TimedOut, Unreadable
from vidclf.media.probe import SAFE_FORMATS, SAFE_PROTOCOLS, SourceInfo
from vidclf.processes import die_with_parent

SEEK_MARGIN = 1.0  # seconds decoded before the segment, so that the trim decides and not the seek

#: Bumped when a change of this module changes the bytes of clips.
GRAPH_VERSION = 1


def cut_command(
    source: Path, info: SourceInfo, start: float | None, end: float | None, profile: ClipProfile, to: Path
) -> list[str]:
    """Seek, exact trim, scale and encode as one ffmpeg command.

    The trim is in ticks of the stream's own time base, so that a frame belongs to ``[start, end)`` by its exact time
    and not by a rounded one. One thread and bit-exact flags: the bytes do not depend on the machine's cores.

    Args:
        start, end: seconds from the file's beginning; None: from or to its end.
    """
    import ffmpeg

    seek = max(0.0, (start or 0.0) - SEEK_MARGIN) if info.seekable else 0.0
    options: dict[str, object] = {"threads": 1, "format_whitelist": SAFE_FORMATS, "protocol_whitelist": SAFE_PROTOCOLS}
    if seek:
        options |= {"ss": f"{seek:.6f}", "noaccurate_seek": None}
    bounds: dict[str, int] = {}
    if start:
        bounds["start_pts"] = _ticks(start, info)
    if end is not None:
        bounds["end_pts"] = _ticks(end, info)

    stream = ffmpeg.input(os.fspath(source), copyts=None, **options).video
    if bounds:
        stream = stream.filter("trim", **bounds)
    stream = stream.filter("setpts", "PTS-STARTPTS")
    timing: dict[str, object] = {"fps_mode": "passthrough", "enc_time_base": "filter"}
    if profile.fps is not None:
        stream = stream.filter("fps", fps=str(Fraction(profile.fps).limit_denominator(1001)))
        timing = {}
    stream = stream.filter("scale", *_scaled_size(profile.short_side), flags="bicubic+accurate_rnd+bitexact")
    stream = stream.filter("setsar", 1).filter("format", "yuv420p")
    encoder = {
        "vcodec": "libx264", "preset": profile.preset, "crf": profile.crf, "g": profile.gop, "threads": 1,
        "fflags": "+bitexact", "flags:v": "+bitexact", "map_metadata": -1, "movflags": "+faststart", "format": "mp4",
    }  # fmt: skip
    output = ffmpeg.output(stream, os.fspath(to), **encoder, **timing)
    output = output.global_args("-hide_banner", "-nostdin", "-loglevel", "error", "-filter_threads", "1")
    return list(output.compile(cmd=executable(), overwrite_output=True))


def _ticks(seconds: float, info: SourceInfo) -> int:
    """The first tick at or after a time: a frame is in when its tick is at least this."""
    return info.start_ticks + math.ceil(Fraction(str(seconds)) / info.time_base)


def _scaled_size(short_side: int) -> tuple[str, str]:
    """Width and height for the scale filter: the short side at most ``short_side``, nothing enlarged, both even."""
    side = f"2*trunc(min({short_side},min(iw,ih))/2)"
    return f"if(gt(iw,ih),-2,{side})", f"if(gt(iw,ih),{side},-2)"


@cache
def executable() -> str:
    """The path of ffmpeg."""
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def run(command: list[str], timeout: float) -> None:
    """Run ffmpeg in a process group of its own, which dies with us, also by a kill -9.

    Raises:
        TimedOut: after ``timeout`` seconds; the whole group is killed.
        Unreadable: ffmpeg failed; with the last thing that it said.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=die_with_parent,
    ) as process:
        try:
            _, said = process.communicate(timeout=timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimedOut(f"ffmpeg took longer than {timeout:g} s") from None
            raise
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()
        raise Unreadable(lines[-1][:500] if lines else f"ffmpeg ended with status {process.returncode}")
