"""Frames into mp4 files whose bytes depend on nothing but the frames: one thread, no clock, no scaler in between."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

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
    settings = f"keyint={gop}:min-keyint={gop}:scenecut=0:threads=1:lookahead-threads=1:crf=20"
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "veryfast", "x264-params": settings, "flags": "+bitexact"}
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(frames):
            if number == 0:
                stream.width, stream.height = picture.size
                stream.codec_context.time_base = 1 / rate
            frame = _yuv420p(picture)
            frame.pts = number
            frame.time_base = 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


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


def _yuv420p(picture: Image.Image) -> av.VideoFrame:
    luma, blue, red = picture.convert("YCbCr").point(_LUMA + _CHROMA + _CHROMA).split()
    planes = [np.asarray(plane) for plane in (luma, blue.reduce(2), red.reduce(2))]
    width, height = picture.size
    packed = np.concatenate([plane.reshape(-1) for plane in planes]).reshape(height * 3 // 2, width)
    return av.VideoFrame.from_ndarray(packed, format="yuv420p")
