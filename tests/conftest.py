"""What several test folders share: small real videos, and a home of their own for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

VideoMaker = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$VIDCLF_HOME in the test's folder, and no server or store of the user's."""
    folder = tmp_path / "home"
    monkeypatch.setenv("VIDCLF_HOME", str(folder))
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS", "AWS_ENDPOINT_URL", "VIDCLF_STORE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def number_bars(number: int, height: int = 64, width: int = 96) -> np.ndarray:
    """uint8 (H, W, 3): a picture that carries ``number`` (0 … 255) as eight black or white bars."""
    picture = np.zeros((height, width, 3), np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            picture[:, bit * width // 8 : (bit + 1) * width // 8] = 255
    return picture


def read_number(picture: np.ndarray) -> int:
    """The number that ``number_bars`` drew, also after scaling and encoding."""
    width = picture.shape[1]
    middles = [(2 * bit + 1) * width // 16 for bit in range(8)]
    row = picture[picture.shape[0] // 2]
    return sum(int(row[x].mean() > 127) << bit for bit, x in enumerate(middles))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of a place in an empty bucket of a real S3 server over HTTP, for this process and its children."""
    import boto3
    from moto.core.base_backend import BackendDict
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    BackendDict.reset()  # what is stored belongs to the process, not to the server
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="vidclf-test")
    yield "s3://vidclf-test/some/prefix"
    server.stop()


@pytest.fixture
def make_video(tmp_path: Path) -> VideoMaker:
    """A function that writes a video whose every frame carries its number."""

    def make(
        name: str = "video.mp4",
        num_frames: int = 75,
        rate: Fraction | int = 25,
        codec: str = "libx264",
        gop: int = 250,
        bframes: int = 2,
        size: tuple[int, int] = (96, 64),
    ) -> Path:
        import av

        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(rate))
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.gop_size = gop
            if codec == "libx264":
                stream.codec_context.max_b_frames = bframes
                stream.options = {"crf": "10", "threads": "1"}
            for number in range(num_frames):
                frame = av.VideoFrame.from_ndarray(number_bars(number % 256, size[1], size[0]), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make
