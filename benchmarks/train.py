"""What training costs beside a bare PyTorch loop that holds its tensors in memory: same model, batch, steps, machine.

    python benchmarks/train.py [--model x3d_s --num-frames 13 --crop-size 182 --clips 64 --batch-size 4 --epochs 6]
    python benchmarks/train.py --device cuda --precision bf16 --channels-last --compile --without-ray --clips 512 --batch-size 16

Ours is the flow's own step on Ray Train: frames from Parquet, JPEG decoded, transformed, collated, tracked in MLflow, with
a checkpoint after every epoch. The bare loop has uint8 batches on the device; normalisation, forward, loss, backward,
clipping and optimiser are the same calls, and after every epoch it validates as many clips. So what is measured is data,
Ray Train and tracking together. Each is a program of its own, and they take turns of some seconds, in which the other one
is stopped with all its processes; the start and the first epoch of each are left out. `--without-ray` trains in that
program itself and tracks nothing, for machines that have neither Ray nor MLflow.

Two ratios of clips a second to the bare loop's: of the steps within epochs, and of whole epochs.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from turns import Program, Stamps, Step, ratios, take_turns

from vidclf import memory
from vidclf.clips import FRAMES, MANIFEST, SCHEMA_VERSION
from vidclf.config import TrainConfig, parse
from vidclf.data.transforms import normalise
from vidclf.snapshot import dataset_store, point_latest_at, read_snapshot, write_snapshot
from vidclf.training.rank import Rank
from vidclf.training.reports import EpochReport
from vidclf.training.run import initial_model, run_training
from vidclf.training.work import TrainingWork, settle

CLASSES = ["first", "second"]
STORED = 32  # frames a clip, as the ingest's default
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    options = arguments()
    if options.only:
        {"ours": ours, "bare": bare}[options.only](options, settle(configuration(options)), Stamps(options.stamps))
        return
    with tempfile.TemporaryDirectory(prefix="vidclf-") as name:
        os.environ |= {"VIDCLF_HOME": name}
        make_snapshot(Path(name), options.clips, options.val_clips, options.side_size)
        print(f"load average {os.getloadavg()[0]:.1f}, {options.threads} threads, {describe(options)}", flush=True)
        compare(options, Path(name))
        print(f"load average {os.getloadavg()[0]:.1f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="x3d_s")
    parser.add_argument("--num-frames", type=int, default=13)
    parser.add_argument("--crop-size", type=int, default=182)
    parser.add_argument("--side-size", type=int, default=182, help="of the stored frames")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--val-clips", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--turn-seconds", type=float, default=15)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--loader-workers", type=int)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--without-ray", action="store_true")
    parser.add_argument("--bare-keeps-memory", action="store_true", help="allocate as ours does, see vidclf/memory.py")
    parser.add_argument("--only", choices=["ours", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--stamps", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def describe(options: argparse.Namespace) -> str:
    asked = [options.precision, *(name for name in ("channels_last", "compile") if getattr(options, name))]
    view = f"{options.num_frames} frames of {options.crop_size}×{options.crop_size}"
    return f"{options.model}, {view}, batch {options.batch_size}, {options.clips} clips, {options.device}, {', '.join(asked)}"


def compare(options: argparse.Namespace, home: Path) -> None:
    """Ours and the bare loop in turns; ours as shares of the bare loop's speed."""
    names, an_epoch = ("ours", "bare"), steps(options)
    programs = []
    for name in names:
        command = [sys.executable, *sys.argv, "--only", name, "--stamps", str(home / name)]
        environment = memory.ENVIRONMENT if name == "bare" and options.bare_keeps_memory else {}
        programs.append(Program(command, home / name, {**os.environ, **environment}))
    ours_made, bare_made = take_turns(programs, options.turn_seconds, an_epoch)
    within = [[step for step in made if step.number % an_epoch] for made in (ours_made, bare_made)]
    pairs = ratios(*within)
    print(
        f"steps: {statistics.median(pairs):.3f} of the bare loop, median of {', '.join(f'{pair:.3f}' for pair in pairs)}"
    )
    say("step, of all within epochs", *(mean_seconds(made) for made in within))
    say("whole epoch", *(epoch_seconds(made, an_epoch) for made in (ours_made, bare_made)))


def say(what: str, full: float, plain: float) -> None:
    print(f"{what}: {plain / full:.3f} of the bare loop, {full:.3f} s instead of {plain:.3f} s")


def mean_seconds(made: Sequence[Step]) -> float:
    return statistics.mean(step.seconds for step in made)


def epoch_seconds(made: Sequence[Step], an_epoch: int) -> float:
    """The first step of an epoch has in it what lies between epochs."""
    within = [step for step in made if step.number % an_epoch]
    first = [step for step in made if step.number % an_epoch == 0]
    return (an_epoch - 1) * mean_seconds(within) + mean_seconds(first)


def bare(options: argparse.Namespace, work: TrainingWork, stamp: Stamps) -> None:
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

    def forward(videos: torch.Tensor) -> torch.Tensor:
        videos = normalise(videos, work.view)
        if options.channels_last:
            videos = videos.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            logits: torch.Tensor = model(videos)
        return logits.float()

    for _ in range(options.epochs):
        model.train()
        for step in range(steps(options)):
            scaler.scale(cross_entropy(forward(held[step % len(held)]), labels)).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            synchronise(device)
            stamp()
        model.eval()
        with torch.no_grad():
            for first in range(0, options.val_clips, options.batch_size):
                forward(held[0][: options.val_clips - first]).argmax(dim=1).tolist()


def ours(options: argparse.Namespace, work: TrainingWork, stamp: Stamps) -> None:
    """The training itself, with what it says of its waiting."""
    rows = by_ray(work, stamp) if not options.without_ray else alone(options, work, stamp)
    later = rows[1:]
    note = f"waits for clips {statistics.median(row['data_share'] for row in later):.1%} of the time"
    if "device_wait_share" in later[0]:
        note += f", the GPU {statistics.median(row['device_wait_share'] for row in later):.1%}"
    print(f"{note} (medians of the epochs after the first)", flush=True)


def alone(options: argparse.Namespace, work: TrainingWork, stamp: Stamps) -> list[dict[str, float]]:
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    reports: list[EpochReport] = []

    def on_step(done: int, total: int, text: str) -> None:
        synchronise(device)
        stamp()

    with memory.kept():
        run_training(work, Rank(device), lambda report, _: reports.append(report), on_step)
    return [report.metrics() for report in reports]


def by_ray(work: TrainingWork, stamp: Stamps) -> list[dict[str, float]]:
    from tasks import ray_train
    from tasks.cluster import cluster
    from tasks.progress import relayed
    from vidclf import tracking
    from vidclf.home import silence_libraries

    silence_libraries()
    snapshot = read_snapshot(dataset_store(work.store, work.config.dataset), work.snapshot_id)
    with cluster(), relayed() as report:
        run_id = tracking.open_run("benchmark", work.name, {}, snapshot, work.config.dataset, work.store)
        ray_train.fit(work, run_id, Stamping(stamp, report))
        tracking.finish(run_id)
    client = tracking.client()
    history = {name: client.get_metric_history(run_id, name) for name in ("data_share", "seconds")}
    return [{name: points[epoch].value for name, points in history.items()} for epoch in range(len(history["seconds"]))]


class Stamping:
    """Reports a step as the flow does, and stamps it."""

    def __init__(self, stamp: Stamps, report: Callable[[str, int, int | None, str], None]):
        self._stamp, self._report = stamp, report

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        self._report(stage, done, total, note)
        self._stamp()


def steps(options: argparse.Namespace) -> int:
    return int(options.clips // options.batch_size)


def configuration(options: argparse.Namespace) -> TrainConfig:
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
    }
    return parse(TrainConfig, values)


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
