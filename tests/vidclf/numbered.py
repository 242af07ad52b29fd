"""Videos whose every frame carries its number, made by the ffmpeg program: any codec, container, rate and start."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import av

from tests.conftest import number_bars
from vidclf.media.ffmpeg import executable

SIZE = (224, 160)  # width, height
X264 = "-c:v libx264 -threads 1 -preset veryfast -crf 18"


def ffmpeg(*arguments: object, input: bytes | None = None) -> None:
    """Run the ffmpeg program; it must succeed."""
    command = [executable(), "-hide_banner", "-loglevel", "error", "-y", *(str(argument) for argument in arguments)]
    done = subprocess.run(command, input=input, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def write_numbered(
    path: Path, encoder: Sequence[object], num_frames: int = 100, rate: str = "25", size: tuple[int, int] = SIZE
) -> Path:
    """Frames 0 … ``num_frames`` - 1 at ``rate``; ``encoder``: output arguments of ffmpeg."""
    width, height = size
    pixels = b"".join(number_bars(number, height, width)[..., 0].tobytes() for number in range(num_frames))
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{width}x{height}", "-r", rate, "-i", "-")
    ffmpeg(*raw, "-pix_fmt", "yuv420p", *encoder, path, input=pixels)
    return path


def read_numbers(path: Path) -> tuple[list[int], list[float]]:
    """Each frame's number and its time in seconds, as another decoder than the product's own code sees them."""
    numbers, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            luma = frame.to_ndarray(format="gray")
            row = luma[luma.shape[0] // 2]
            middles = [(2 * bit + 1) * luma.shape[1] // 16 for bit in range(8)]
            numbers.append(sum(int(row[x] > 127) << bit for bit, x in enumerate(middles)))
            times.append(float(frame.pts * frame.time_base))
    return numbers, times
