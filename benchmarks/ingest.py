"""What the ingest costs beside bare ffmpeg: the same segments, the same arguments, in alternating rounds.

    python benchmarks/ingest.py [--clips 200] [--rounds 3]

Sources are generated: 30 seconds of 640×360, from which segments of ten seconds are cut with the default profile.
Bare ffmpeg is `xargs -P CORES`. Ours is the flow's own steps on Prefect and Ray, with plan, copy of the source, checks,
hashes and ledger: once as far as the clips, once with their frames. Starting Prefect and Ray is left out of a round, and
shown apart. Wall seconds and CPU seconds (of this process and all its children) per clip, and the median of the ratios.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from flows.server import prefect_server
from vidclf.config import ClipProfile, IngestConfig, parse
from vidclf.media.ffmpeg import SEEK_MARGIN, cut_command, executable
from vidclf.media.probe import survey

SECONDS, SEGMENT, DRAWN = 30, 10, 6
PROFILE = ClipProfile()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vidclf-") as name:
        folder = Path(name)
        os.environ["VIDCLF_HOME"] = f"{name}/home"
        rows = prepare(folder, options.clips)
        began = time.perf_counter()
        with prefect_server():
            from tasks.cluster import cluster

            with cluster():
                ingest(folder, rows[:4], "warm", with_frames=True)
                write_scripts(folder, rows)
                print(f"start of Prefect and Ray, and the first clips: {time.perf_counter() - began:.1f} s")
                compare(folder, rows, options.rounds)


def prepare(folder: Path, clips: int) -> list[list[Any]]:
    """The sources, and one annotation per clip. Few are drawn, and copied under further names."""
    videos = folder / "videos"
    videos.mkdir()
    per_video = SECONDS // SEGMENT
    for number in range(DRAWN):
        picture = f"testsrc2=size=640x360:rate=25:duration={SECONDS},noise=alls=12:allf=t:all_seed={number}"
        command = [executable(), "-v", "error", "-f", "lavfi", "-i", picture, "-c:v", "libx264", "-preset", "veryfast",
                   "-crf", "26", "-g", "250", "-pix_fmt", "yuv420p", str(folder / f"drawn-{number}.mp4")]  # fmt: skip
        subprocess.run(command, check=True)
    rows: list[list[Any]] = []
    for number in range(-(-clips // per_video)):
        shutil.copy(folder / f"drawn-{number % DRAWN}.mp4", videos / f"video{number:04d}.mp4")
        rows += [["a", f"video{number:04d}", start, start + SEGMENT, "train"] for start in range(0, SECONDS, SEGMENT)]
    return rows[:clips]


def compare(folder: Path, rows: list[list[Any]], rounds: int) -> None:
    ways: dict[str, Callable[[str], None]] = {
        "bare ffmpeg": lambda name: bare(folder),
        "cut + transcode": lambda name: ingest(folder, rows, name, with_frames=False),
        "and frames": lambda name: ingest(folder, rows, name, with_frames=True),
    }
    ratios: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        measured = {}
        for way, work in ways.items():
            wall, cpu = timed(work, f"{number}-{way.split()[0]}")
            measured[way] = wall
            ratios[way].append(wall / measured["bare ffmpeg"])
            print(
                f"round {number + 1}  {way:<16} {1000 * wall / len(rows):6.0f} ms and {1000 * cpu / len(rows):6.0f} CPU ms "
                f"a clip, ratio {ratios[way][-1]:.3f}",
                flush=True,
            )
    for way in list(ways)[1:]:
        print(f"median of {rounds} rounds of {len(rows)} clips, {way}: {statistics.median(ratios[way]):.3f}")


def timed(work: Callable[[str], None], name: str) -> tuple[float, float]:
    """Wall and CPU seconds of a round; CPU of this machine, since Ray's workers are no children of ours that end."""
    cpu, began = busy(), time.perf_counter()
    work(name)
    return time.perf_counter() - began, busy() - cpu


def busy() -> float:
    """CPU seconds of all processes of this machine."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


def bare(folder: Path) -> None:
    """The same ffmpeg commands under xargs. They were written down before the clock ran."""
    scripts = [str(script) for script in sorted((folder / "scripts").glob("*.sh"))]
    subprocess.run(["xargs", "-P", str(os.cpu_count()), "-n1", "sh"], input="\n".join(scripts), text=True, check=True)


def write_scripts(folder: Path, rows: list[list[Any]]) -> None:
    """One shell script per clip, with the command that the ingest runs."""
    (folder / "scripts").mkdir()
    (folder / "bare").mkdir()
    for number, (_, video, start, end, _) in enumerate(rows):
        source = folder / "videos" / f"{video}.mp4"
        info, segment = survey(source, start, end, SEEK_MARGIN)
        made = folder / "bare" / f"{number:05d}.mp4"
        command = cut_command(source, info, start, end, PROFILE, made, first=segment.first)
        (folder / "scripts" / f"{number:05d}.sh").write_text(shlex.join(command))


def ingest(folder: Path, rows: list[list[Any]], name: str, *, with_frames: bool) -> None:
    """The flow's steps, in a dataset of their own."""
    from prefect import flow

    from tasks.download import download_videos
    from tasks.frames import store_frames
    from tasks.plan import plan_clips
    from tasks.run import ingest_run
    from tasks.transcode import transcode_clips
    from tasks.window import in_window

    table = folder / f"{name}.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["label", "youtube_id", "time_start", "time_end", "split"], *rows])
    values = {
        "dataset": name,
        "annotations": {"path": str(table)},
        "sources": [{"kind": "folder", "path": str(folder / "videos")}],
        "clips": PROFILE.model_dump(),
        "execution": {"num_shards": 4},
    }
    config = parse(IngestConfig, values)
    stages = [download_videos, transcode_clips, *([store_frames] if with_frames else [])]

    @flow(name="benchmark")
    def steps() -> None:
        with ingest_run(config) as run:
            in_window(stages, run, plan_clips(run), config.execution.window)

    steps()
    dataset = folder / "home/store/datasets" / name
    assert len(list(dataset.glob("clips/*/*.mp4"))) == len(rows)
    shutil.rmtree(dataset)


if __name__ == "__main__":
    main()
