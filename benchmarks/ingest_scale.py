"""Kinetics-700-2020 at its full size, without its videos: plan, ledger, resume and publish; and the cost of a clip.

    python benchmarks/ingest_scale.py [--rows 643910] [--clips 20000] [--skip-s3]

The first part writes an annotation file of that many rows, plans it, writes the ledger that a whole ingest would leave
(with the system's own writer, file by file), scans it as a resume does, and publishes a snapshot: in a folder, and on
an S3 server over HTTP. The second part is an ingest whose stages do nothing, so that what remains is the cost of
Prefect, Ray and the ledger. Each part runs in a process of its own, whose largest memory is given.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nothing
import psutil

SPLITS = (("train", 542_352), ("validate", 34_125), ("test", 67_433))
STAGES = ("download", "transcode", "frames")


def write_annotations(path: Path, rows: int) -> None:
    """A list in the layout and the proportions of Kinetics-700-2020; the test rows have no label."""
    draw = random.Random(0)
    in_all = sum(number for _, number in SPLITS)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        for split, number in SPLITS:
            for _ in range(number * rows // in_all):
                start = draw.randrange(300)
                label = "" if split == "test" else f"class number {draw.randrange(700):03d}"
                writer.writerow([label, f"{draw.getrandbits(64):011x}"[:11], start, start + 10, split])


class Clock:
    """Seconds of each step, and the largest memory so far."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, float, float]] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
        self.lines.append((name, time.perf_counter() - began, peak))


def at_full_size(annotations: str, store_uri: str, results: Any) -> None:
    """Plan, write the ledger, scan it, publish."""
    from vidclf.annotations import read_annotations
    from vidclf.config import AnnotationsConfig
    from vidclf.creation import num_shards
    from vidclf.manifest import manifest, standing
    from vidclf.plan import make_plan
    from vidclf.recipes import Recipes
    from vidclf.snapshot import dataset_store, point_latest_at, read_snapshot, register_classes, write_snapshot

    clock = Clock()
    store = dataset_store(store_uri, "kinetics-700")
    recipes = Recipes("d", "c", "f", None)
    with clock.step("plan: read and share out"):
        found = read_annotations(AnnotationsConfig(path=annotations))
        plan = make_plan(found.rows, num_shards(store, None, len(found.rows), create=True), found.notices)
    with clock.step("ledger: write and compact"):
        write_ledger(store, plan, recipes)
    files = len(store.files_below("ledger", ".parquet"))
    with clock.step(f"resume: scan {files} ledger files"):
        now = standing(store, plan, recipes)
        assert now.open_shards() == []
    with clock.step("publish: manifest, id, snapshot, latest"):
        classes = register_classes(store, plan.labels)
        snapshot = write_snapshot(store, manifest(now, classes, {}), classes, {"recipes": recipes.identity})
        point_latest_at(store, snapshot, "benchmark")
    with clock.step("read the snapshot"):
        again = read_snapshot(store)
    assert len(again.clips) == len(found.rows)
    results.put({"steps": clock.lines, "stats": again.stats["status"]})


def write_ledger(store: Any, plan: Any, recipes: Any) -> None:
    """What an ingest of everything would leave: 97 of 100 clips are ok, the others gone."""
    from vidclf.ledger import Entry, LedgerWriter, compact

    draw = random.Random(1)
    for shard in range(plan.num_shards):
        clips = list(plan.shard(shard))
        gone = {clip for clip in clips if draw.random() < 0.03}
        for stage, recipe in zip(STAGES, ("d", "c", "f"), strict=True):
            with LedgerWriter(store, stage, shard, "benchmark") as ledger:
                for row, clip in enumerate(clips):
                    if clip not in gone:
                        ledger.append(nothing.good_entry(clip, stage, recipe, row))
                    elif stage == "download":
                        ledger.append(Entry(clip, stage, recipe, "failed", "gone", "This video has been removed"))
            compact(store, stage, shard, "benchmark")


def doing_nothing(annotations: str, store_uri: str, results: Any) -> None:
    """A whole ingest whose stages do nothing; samples of memory and threads while it runs."""
    from flows.server import prefect_server

    with prefect_server():
        import tasks.download
        import tasks.frames
        import tasks.transcode
        from flows.ingest import ingest
        from tasks.cluster import cluster
        from tasks.progress import board

        tasks.download.do = nothing.download
        tasks.transcode.do = nothing.transcode
        tasks.frames.do = nothing.frames
        with cluster(), sampled(lambda: sum(stage.done for stage in board.stages())) as samples:
            began = time.perf_counter()
            ingest(
                dataset="nothing",
                annotations={"path": annotations},
                sources=[{"kind": "generated"}],
                store=store_uri,
                report={"write": False},
            )
            seconds = time.perf_counter() - began
    results.put({"seconds": seconds, "samples": samples})


@contextlib.contextmanager
def sampled(done: Callable[[], int]) -> Iterator[list[tuple[int, float, int]]]:
    """(clips × stages done, MiB of this process, its threads), twice a second."""
    samples: list[tuple[int, float, int]] = []
    ended, me = threading.Event(), psutil.Process()

    def sample() -> None:
        while not ended.wait(0.5):
            samples.append((done(), me.memory_info().rss / 2**20, me.num_threads()))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    yield samples
    ended.set()
    thread.join()


def in_a_process(work: Callable[..., None], *arguments: str) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=work, args=(*arguments, results))
    process.start()
    while process.is_alive() and results.empty():
        process.join(0.2)
    if results.empty():
        raise SystemExit(f"{work.__name__} ended with status {process.exitcode}")
    found: dict[str, Any] = results.get()
    process.join()
    return found


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """moto's server in a process of its own; the bucket's URI."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    try:
        import boto3

        while process.poll() is None:
            with contextlib.suppress(Exception):
                boto3.client("s3").create_bucket(Bucket="benchmark")
                break
            time.sleep(0.2)
        yield "s3://benchmark/store"
    finally:
        process.terminate()
        process.wait()


def show(title: str, found: dict[str, Any]) -> None:
    print(f"\n{title}: {json.dumps(found['stats'])}")
    for name, seconds, peak in found["steps"]:
        print(f"  {name:<42} {seconds:8.1f} s   peak {peak:6.0f} MiB")


def show_nothing(clips: int, found: dict[str, Any]) -> None:
    print(
        f"\n{clips} clips whose stages do nothing: {found['seconds']:.1f} s, {1000 * found['seconds'] / clips:.2f} ms a clip"
    )
    samples = [sample for sample in found["samples"] if sample[0] > 0]
    for quarter in range(5):
        done, memory, threads = samples[min(quarter * len(samples) // 4, len(samples) - 1)]
        print(f"  {done:>7} stage ends: {memory:6.0f} MiB, {threads} threads")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=643_910)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--skip-s3", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vidclf-") as folder:
        os.environ["VIDCLF_HOME"] = f"{folder}/home"
        os.environ["PYTHONPATH"] = os.fspath(Path(__file__).parent)  # so that Ray's workers find stages that do nothing
        if options.rows:
            path = Path(folder) / "kinetics700_2020.csv"
            write_annotations(path, options.rows)
            show("in a folder", in_a_process(at_full_size, str(path), f"{folder}/store"))
            if not options.skip_s3:
                with s3_server() as uri:
                    show("on S3 over HTTP", in_a_process(at_full_size, str(path), uri))
        if options.clips:
            few = Path(folder) / "few.csv"
            write_annotations(few, options.clips)
            show_nothing(options.clips, in_a_process(doing_nothing, str(few), f"{folder}/nothing"))


if __name__ == "__main__":
    main()
