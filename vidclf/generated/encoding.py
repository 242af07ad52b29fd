"""Frames into mp4 files whose bytes depend on nothing but the frames: one thread, no clock, no scaler in between.

By the ffmpeg program and not by PyAV, whose x264 gave other bytes for the same frames in 3 of 16 runs.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vidclf.media.ffmpeg import executable
from vidclf.processes import die_with_parent

# Pillow's YCbCr uses all of 0 to 255 (JPEG); these lead to BT.601's limited range, which an untagged mp4 is taken for
_LUMA = [round(16 + value * 219 / 255) for value in range(256)]
_CHROMA = [round(128 + (value - 128) * 224 / 255) for value in range(256)]

AUDIO_RATE = 44_100


def encode_video(frames: Iterable[Image.Image], path: Path, rate: Fraction, gop: int) -> None:
    """H.264 in mp4, yuv420p, with a keyframe every ``gop`` frames and the index behind the data.

    Args:
        frames: RGB, all of one size, even width and height.
        rate: frames per second.
    """
    encoded = iter(frames)
    first = next(encoded)
    width, height = first.size
    pixels = b"".join(_yuv420p(picture) for picture in (first, *encoded))
    settings = f"keyint={gop}:min-keyint={gop}:scenecut=0:crf=20"
    given = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    made = ["-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-x264-params", settings, "-f", "mp4"]
    exact = ["-fflags", "+bitexact", "-flags:v", "+bitexact"]
    command = [executable(), "-hide_banner", "-loglevel", "error", "-y", *given, *made, *exact, str(path)]
    subprocess.run(command, input=pixels, check=True, preexec_fn=die_with_parent)


def encode_audio(path: Path, seconds: int) -> None:
    """An mp4 with a sound and no picture."""
    times = np.arange(seconds * AUDIO_RATE) / AUDIO_RATE
    tone = (0.2 * np.sin(2 * math.pi * 440 * times)).astype(np.float32)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("aac", rate=AUDIO_RATE, layout="mono")
        stream.codec_context.thread_count = 1
        stream.options = {"flags": "+bitexact"}
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate = AUDIO_RATE
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def truncate(path: Path) -> None:
    """Cut the file off, as an interrupted download would; without its index no player can open it."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 6 // 10)


def _yuv420p(picture: Image.Image) -> bytes:
    """Three planes, one behind the other, those of colour at half the size."""
    luma, blue, red = picture.convert("YCbCr").point(_LUMA + _CHROMA + _CHROMA).split()
    return b"".join(plane.tobytes() for plane in (luma, blue.reduce(2), red.reduce(2)))
