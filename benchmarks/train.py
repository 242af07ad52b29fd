"""What training costs beside a bare PyTorch loop that holds its tensors in memory: same model, batch, steps, machine.

    python benchmarks/train.py [--model x3d_s --num-frames 13 --crop-size 182 --clips 32 --batch-size 4 --pairs 3]
    python benchmarks/train.py --device cuda --precision bf16 --channels-last --compile --without-ray --clips 512 --batch-size 16

Ours is the flow's own step on Ray Train: frames from Parquet, JPEG decoded, transformed, collated, tracked in MLflow, with
a checkpoint after every epoch. The bare loop has uint8 batches on the device; normalisation, forward, loss, backward,
clipping and optimiser are the same calls. So what is measured is data, Ray Train and tracking together. They take turns,
and the first epoch of each is left out. `--without-ray` trains in this process and tracks nothing, for machines that have
neither Ray nor MLflow.

Two ratios of clips a second to the bare loop's: of the steps alone, and of whole epochs, which have the validation of a
few clips, the checkpoint and the tracking in them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from vidclf.clips import FRAMES, MANIFEST, SCHEMA_VERSION
from vidclf.config import TrainConfig, parse
from vidclf.data.transforms import normalise
from vidclf.snapshot import dataset_store, point_latest_at, write_snapshot
from vidclf.training.rank import Rank
from vidclf.training.reports import EpochReport
from vidclf.training.run import initial_model, run_training
from vidclf.training.work import TrainingWork, settle

CLASSES = ["first", "second"]
STORED = 32  # frames a clip, as the ingest's default
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Speed:
    """Clips a second after the first epoch."""

    steps: float
    epochs: float
    note: str = ""


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="vidclf-") as name:
        os.environ |= {"VIDCLF_HOME": name}
        make_snapshot(Path(name), options.clips, options.val_clips, options.side_size)
        print(f"load average {os.getloadavg()[0]:.1f}, {options.threads} threads, {describe(options)}")
        with contextlib.nullcontext() if options.without_ray else ray_cluster():
            ratios = [pair(options, number) for number in range(options.pairs)]
        for name, values in zip(("steps", "whole epochs"), zip(*ratios, strict=True), strict=True):
            print(
                f"{name}: {statistics.median(values):.3f} of the bare loop, median of {', '.join(f'{v:.3f}' for v in values)}"
            )
        print(f"load average {os.getloadavg()[0]:.1f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="x3d_s")
    parser.add_argument("--num-frames", type=int, default=13)
    parser.add_argument("--crop-size", type=int, default=182)
    parser.add_argument("--side-size", type=int, default=182, help="of the stored frames")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--val-clips", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--loader-workers", type=int)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--without-ray", action="store_true")
    return parser.parse_args()


def describe(options: argparse.Namespace) -> str:
    asked = [options.precision, *(name for name in ("channels_last", "compile") if getattr(options, name))]
    view = f"{options.num_frames} frames of {options.crop_size}×{options.crop_size}"
    return f"{options.model}, {view}, batch {options.batch_size}, {options.clips} clips, {options.device}, {', '.join(asked)}"


def pair(options: argparse.Namespace, number: int) -> tuple[float, float]:
    """The bare loop and ours, one after the other, in turns; ours as shares of the bare loop's speed."""
    work = settle(configuration(options, number))
    order = [bare, ours] if number % 2 == 0 else [ours, bare]
    speeds = {run.__name__: run(options, work) for run in order}
    for name, speed in speeds.items():
        print(
            f"  {name}: {speed.steps:.3f} clips a second, {speed.epochs:.3f} with what lies between epochs{speed.note}"
        )
    plain, full = speeds["bare"], speeds["ours"]
    return full.steps / plain.steps, full.epochs / plain.steps


def bare(options: argparse.Namespace, work: TrainingWork) -> Speed:
    """A loop as in PyTorch's tutorials, over batches that are on the device already."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    model = initial_model(work.config, len(CLASSES), work.view).to(device)
    if options.channels_last:
        for parameter in model.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    if options.compile:
        model.compile()
    optimizer = AdamW(model.parameters(), lr=1e-3, fused=device.type == "cuda" or None)
    shape = (options.batch_size, 3, options.num_frames, options.crop_size, options.crop_size)
    held = [torch.randint(0, 256, shape, dtype=torch.uint8, device=device) for _ in range(min(8, steps(options)))]
    labels = torch.arange(options.batch_size, device=device) % len(CLASSES)
    dtype = DTYPES.get(options.precision)
    scaler = torch.amp.GradScaler(device.type, enabled=options.precision == "fp16")
    model.train()
    seconds = 0.0
    for epoch in range(options.epochs):
        synchronise(device)
        began = time.perf_counter()
        for step in range(steps(options)):
            videos = normalise(held[step % len(held)], work.view)
            if options.channels_last:
                videos = videos.contiguous(memory_format=torch.channels_last_3d)
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                logits = model(videos)
            scaler.scale(cross_entropy(logits.float(), labels)).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
        synchronise(device)
        seconds += time.perf_counter() - began if epoch else 0.0
    speed = (options.epochs - 1) * steps(options) * options.batch_size / seconds
    return Speed(speed, speed)


def ours(options: argparse.Namespace, work: TrainingWork) -> Speed:
    """The training itself. Its own clock for the steps; for whole epochs, the time between their ends."""
    if not options.without_ray:
        return tracked_by_ray(options, work)
    torch.set_num_threads(options.threads)
    ends: list[float] = []
    reports: list[EpochReport] = []

    def on_epoch(report: EpochReport, numbers: dict[str, float]) -> None:
        ends.append(time.perf_counter())
        reports.append(report)

    run_training(work, Rank(torch.device(options.device)), on_epoch)
    rows = [report.metrics() for report in reports]
    return speed_of(rows, ends, steps(options) * options.batch_size)


def tracked_by_ray(options: argparse.Namespace, work: TrainingWork) -> Speed:
    from tasks import ray_train
    from vidclf import tracking
    from vidclf.snapshot import read_snapshot

    snapshot = read_snapshot(dataset_store(work.store, work.config.dataset), work.snapshot_id)
    run_id = tracking.open_run("benchmark", work.name, {}, snapshot, work.config.dataset, work.store)
    ray_train.fit(work, run_id)
    tracking.finish(run_id)
    client = tracking.client()
    history = {name: client.get_metric_history(run_id, name) for name in ("clips_per_second", "data_share", "seconds")}
    rows = [{name: points[epoch].value for name, points in history.items()} for epoch in range(len(history["seconds"]))]
    return speed_of(rows, [point.timestamp / 1000 for point in history["seconds"]], steps(options) * options.batch_size)


def speed_of(rows: list[dict[str, float]], ends: list[float], clips_an_epoch: int) -> Speed:
    later = rows[1:]
    clips = [row["clips_per_second"] for row in later]
    steps_alone = statistics.harmonic_mean(clips)
    trained = clips_an_epoch * len(later)
    note = f"; waits for clips {statistics.mean(row['data_share'] for row in later):.1%} of the time"
    if "device_wait_share" in later[0]:
        note += f", the GPU {statistics.mean(row['device_wait_share'] for row in later):.1%}"
    return Speed(steps_alone, trained / (ends[-1] - ends[0]), note)


def steps(options: argparse.Namespace) -> int:
    return int(options.clips // options.batch_size)


def configuration(options: argparse.Namespace, seed: int) -> TrainConfig:
    values: dict[str, Any] = {
        "dataset": "benchmark",
        "model": options.model,
        "data": {
            "num_frames": options.num_frames,
            "side_size": options.side_size,
            "crop_size": options.crop_size,
            "loader_workers": options.loader_workers,
        },
        "optim": {"epochs": options.epochs, "batch_size": options.batch_size, "precision": options.precision},
        "cpus_per_worker": options.threads,
        "use_gpu": options.device == "cuda",
        "channels_last": options.channels_last,
        "compile": options.compile,
        "seed": seed,
    }
    return parse(TrainConfig, values)


@contextlib.contextmanager
def ray_cluster() -> Iterator[None]:
    from tasks.cluster import cluster
    from vidclf.home import silence_libraries

    silence_libraries()
    with cluster():
        yield


def make_snapshot(home: Path, clips: int, val_clips: int, side: int) -> None:
    """Clips of smooth moving patterns, 4:3, as the ingest stores them."""
    store = dataset_store(str(home / "store"), "benchmark")
    rows, manifest = [], []
    for number in range(clips + val_clips):
        label_id, name = number % len(CLASSES), f"clip{number:05d}"
        frames = [picture(number, index, side) for index in range(STORED)]
        width, height = side * 4 // 3, side
        times = [index / 10 for index in range(STORED)]
        rows.append(dict(clip_id=name, variant=0, frames=frames, timestamps=times, width=width, height=height))
        row = dict(annotation_id=name, clip_id=name, label=CLASSES[label_id], label_id=label_id, source_id=name)
        row |= dict(split="train" if number < clips else "val", status="ok", frames_row=number)
        manifest.append(row | dict(frames_path="frames/b/0.parquet"))
    store.write_table(
        "frames/b/0.parquet", pa.Table.from_pylist(rows, schema=FRAMES), row_group_size=1, compression="none"
    )
    store.write_json("dataset.json", {"schema_version": SCHEMA_VERSION, "num_shards": 1})
    made_by = {"frames": {"num_frames": STORED, "side_size": side}, "clips": {"short_side": side}, "recipes": {}}
    table = pa.Table.from_pylist(manifest, schema=MANIFEST)
    point_latest_at(store, write_snapshot(store, table, CLASSES, made_by), "benchmark")


def picture(clip: int, index: int, side: int) -> bytes:
    """A JPEG whose size is that of a film's frame: soft colours, with some grain."""
    y, x = np.mgrid[0:side, 0 : side * 4 // 3]
    phase = clip + index / 5
    planes = [
        127 + 80 * np.sin(x / (17 + 5 * plane) + phase) * np.cos(y / (23 + 3 * plane) - phase) for plane in range(3)
    ]
    grain = np.random.default_rng((clip, index)).normal(0, 6, (side, side * 4 // 3, 1))
    pixels = (np.stack(planes, axis=-1) + grain).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
