"""What reading a training clip costs: `frames` and `clips` here, pytorchvideo's own dataset, and torchcodec.

    python benchmarks/loader.py [--clips 48] [--rounds 7] [--workers 0]

Clips of ten seconds, 340×256 at 30 frames per second, are generated and ingested with the default profile; their frames
are stored fifteen a second, at a short side of 182 and of 256 pixels. Everybody then samples as X3D-S does: 13 frames,
6 apart, from anywhere in the clip, and hands them to the same transform: short side 182, random crop of 182, flip.
pytorchvideo decodes the 78 frames of its window, of which every sixth is kept before the transform.

Clips per second, and CPU seconds per clip (of this process, its threads, and its loader processes), in alternating
rounds; then the medians, over the rounds, of the ratios of CPU seconds.

torchcodec takes part where it and FFmpeg's shared libraries are there, in its default (exact) mode. PyAV brings such
libraries under other names; a folder of links from libavutil.so.60 and so on to those in `site-packages/av.libs`, named
in LD_LIBRARY_PATH, is enough.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from vidclf.clips import MANIFEST
from vidclf.config import ClipProfile, DataConfig, FramesConfig
from vidclf.config.training import ReaderName
from vidclf.data.dataset import ClipDataset
from vidclf.data.sampling import train_window
from vidclf.data.transforms import Randomness, picture
from vidclf.data.view import View, resolve_view, stored_frames
from vidclf.media.cut import cut
from vidclf.media.ffmpeg import executable
from vidclf.stages.frames import Job, do
from vidclf.storage import Store

SECONDS, RATE, DRAWN = 10, 30, 6
MODEL = "x3d_xs"  # one of the family: all that differs is said below
NUM_FRAMES, SAMPLING_RATE, SIDE = 13, 6, 182
DATA = DataConfig(num_frames=NUM_FRAMES, sampling_rate=SAMPLING_RATE, side_size=SIDE, crop_size=SIDE)
STORED_FPS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48, help="per round and way")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0, help="loader processes; 0: this one")
    options = parser.parse_args()
    torch.set_num_threads(1)  # parallelism comes from many clips
    with tempfile.TemporaryDirectory(prefix="vidclf-") as folder:
        store = Store(folder)
        manifests = ingest(Path(folder), store, options.clips)
        paths = [store.full(path) for path in manifests[SIDE]["clip_path"].to_pylist()]
        ways: dict[str, Iterable[Any]] = {
            "frames": ours(store, manifests[SIDE], "frames", SIDE),
            "frames, side 256": ours(store, manifests[256], "frames", 256),
            "clips": ours(store, manifests[SIDE], "clips", 256),
            "pytorchvideo": pytorchvideo(paths),
        }
        reason = why_no_torchcodec()
        if reason:
            print(f"torchcodec is left out: {reason}")
        else:
            ways["torchcodec"] = TorchCodec(paths)
        compare(ways, options.clips, options.rounds, options.workers)


def compare(ways: dict[str, Any], clips: int, rounds: int, workers: int) -> None:
    """Alternating rounds; a first one, of everybody, does not count."""
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for number, way in itertools.product(range(rounds + 1), ways):
        wall, busy = timed(ways[way], clips, workers)
        if number:
            cpu[way].append(busy / clips)
            print(
                f"round {number}  {way:<17} {clips / wall:7.1f} clips/s {1000 * busy / clips:7.2f} CPU ms a clip",
                flush=True,
            )
    print(f"medians of {rounds} rounds of {clips} clips")
    for way, seconds in cpu.items():
        print(f"{way:<17} {1000 * statistics.median(seconds):7.2f} CPU ms a clip")
    for way, peer in itertools.product(("frames", "frames, side 256", "clips"), ("pytorchvideo", "torchcodec")):
        if peer in cpu:
            ratio = statistics.median(theirs / mine for theirs, mine in zip(cpu[peer], cpu[way], strict=True))
            print(f"{way:<17} {ratio:6.2f} times the clips of {peer} per CPU second")


def timed(data: Any, clips: int, workers: int) -> tuple[float, float]:
    """Wall and CPU seconds of reading every clip once."""
    started, busy = time.perf_counter(), cpu_seconds()
    loader = DataLoader(data, batch_size=None, num_workers=workers)
    count = sum(1 for _ in loader)
    del loader  # its processes end, and their time is counted
    if count != clips:
        raise RuntimeError(f"{count} clips came, not {clips}")
    return time.perf_counter() - started, cpu_seconds() - busy


def cpu_seconds() -> float:
    """Of this process, its threads, and its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def view_of(reader: ReaderName, stored_side: int) -> View:
    """X3D-S's view, of frames that are stored, or of clips."""
    made_by = {
        "clips": ClipProfile().model_dump(),
        "frames": FramesConfig(fps=STORED_FPS, side_size=stored_side).model_dump(),
    }
    rate = SAMPLING_RATE * STORED_FPS // RATE if reader == "frames" else SAMPLING_RATE
    return resolve_view(
        MODEL, DATA.model_copy(update={"reader": reader, "sampling_rate": rate}), stored_frames(made_by, reader)
    )


class Readable(Dataset[Tensor]):
    """A ``ClipDataset`` that must not fail."""

    def __init__(self, data: ClipDataset):
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        if index >= len(self):
            raise IndexError(index)
        sample = self.data[index]
        if sample["failure"]:
            raise RuntimeError(sample["failure"].reason)
        return sample["video"]


def ours(store: Store, manifest: pa.Table, reader: ReaderName, stored_side: int) -> Readable:
    view = view_of(reader, stored_side)
    return Readable(ClipDataset(manifest, store, ["a", "b"], "train", view, train=True, data=DATA))


class SameTransform:
    """What everybody does with 13 frames: uint8 (T, C, H, W) → uint8 (C, T, 182, 182)."""

    def __init__(self) -> None:
        self.view = view_of("clips", SIDE)
        self.randomness = Randomness(DATA, self.view)
        self.rng = np.random.default_rng(0)

    def __call__(self, frames: Tensor) -> Tensor:
        return picture(frames, self.view, self.randomness.draw(self.rng))

    def window(self, num_frames: int) -> list[int]:
        return [int(index) for index in train_window(num_frames, NUM_FRAMES, SAMPLING_RATE, self.rng)]


def pytorchvideo(paths: list[str]) -> Iterable[Any]:
    """Its own dataset and sampler, on PyAV. Its transforms do not import any more."""
    from pytorchvideo.data import LabeledVideoDataset, RandomClipSampler

    same = SameTransform()

    def transform(sample: dict[str, Any]) -> Tensor:
        frames = sample["video"][:, ::SAMPLING_RATE][:, :NUM_FRAMES]  # float (C, T, H, W), 0..255
        return same(frames.to(torch.uint8).transpose(0, 1))

    sampler = RandomClipSampler(clip_duration=Fraction(NUM_FRAMES * SAMPLING_RATE, RATE))
    videos = [(path, {"label": 0}) for path in paths]
    data: Iterable[Any] = LabeledVideoDataset(
        videos, sampler, SequentialSampler, transform=transform, decode_audio=False, decoder="pyav"
    )
    return data


def why_no_torchcodec() -> str | None:
    if importlib.util.find_spec("torchcodec") is None:
        return "it is not installed"
    from torchcodec.decoders import VideoDecoder

    try:
        VideoDecoder(b"")
    except RuntimeError as error:
        if "libtorchcodec" in str(error):
            return "FFmpeg's shared libraries are not there"
    except ValueError:
        pass  # it looked into the video, so it works
    return None


class TorchCodec(Dataset[Tensor]):
    """Exact seeking and one thread, as for ours."""

    def __init__(self, paths: list[str]):
        self.paths, self.same = paths, SameTransform()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        from torchcodec.decoders import VideoDecoder

        if index >= len(self):
            raise IndexError(index)
        decoder = VideoDecoder(self.paths[index], num_ffmpeg_threads=1)
        return self.same(decoder.get_frames_at(self.same.window(len(decoder))).data)


def ingest(folder: Path, store: Store, clips: int) -> dict[int, pa.Table]:
    """The clips, and their frames at two sizes: short side → manifest. Few are drawn, and stored under further names."""
    ids = [f"clip{number:04d}" for number in range(clips)]
    paths = [f"clips/{clip_id}.mp4" for clip_id in ids]
    (folder / "clips").mkdir()
    for number, path in enumerate(paths):
        if number < DRAWN:
            cut(draw(folder / f"drawn{number}.mp4", number), None, None, ClipProfile(), folder / path, timeout=600)
        else:
            (folder / path).write_bytes((folder / paths[number % DRAWN]).read_bytes())
    manifests = {}
    for side in (SIDE, 256):
        frames = FramesConfig(fps=STORED_FPS, side_size=side)
        rows: list[dict[str, Any]] = []
        for start in range(0, clips, 32):
            keys = tuple(ids[start : start + 32])
            job = Job(
                store=store, recipe=str(side), keys=keys, shard=0, paths=tuple(paths[start : start + 32]), frames=frames
            )
            for entry in do(job):
                row = dict(annotation_id=entry.key, clip_id=entry.key, source_id=entry.key, split="train", status="ok")
                row |= dict(label="ab"[len(rows) % 2], label_id=len(rows) % 2, clip_path=paths[len(rows)])
                rows.append(row | dict(frames_path=entry.path, frames_row=entry.row))
        manifests[side] = pa.Table.from_pylist(rows, schema=MANIFEST)
    return manifests


def draw(path: Path, number: int) -> Path:
    """A source: moving shapes under film grain, so that its size is that of a real video."""
    picture = f"testsrc2=size=340x256:rate={RATE}:duration={SECONDS},noise=alls=12:allf=t:all_seed={number}"
    command = [executable(), "-v", "error", "-f", "lavfi", "-i", picture, "-c:v", "libx264", "-preset", "veryfast",
               "-crf", "26", "-g", "250", "-pix_fmt", "yuv420p", str(path)]  # fmt: skip
    subprocess.run(command, check=True)
    return path


if __name__ == "__main__":
    main()
