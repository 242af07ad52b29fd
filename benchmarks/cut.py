"""What the ingest costs beside bare ffmpeg: the same segments, the same arguments, in alternating rounds.

    python benchmarks/cut.py [--clips 40] [--rounds 3]

Bare ffmpeg is `xargs -P CORES`; ours is the transcode stage as Ray tasks, with its checks, hashes and ledger. Starting
Ray is left out. Prints seconds per clip of each, the ratio of each round, and the median of the ratios.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tasks.cluster import cluster
from tasks.fanout import fan_out
from vidclf.config import ClipProfile
from vidclf.generated.choreography import State, programme
from vidclf.ledger import LedgerWriter
from vidclf.media.ffmpeg import cut_command
from vidclf.media.probe import probe_source
from vidclf.sources.generated import Generated
from vidclf.stages import transcode
from vidclf.storage import Store

PROFILE = ClipProfile(short_side=96)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, cluster():
        jobs = prepare(Path(folder), options.clips)
        ours(Path(folder), jobs)  # the workers' imports are part of starting Ray
        ratios = []
        for number in range(options.rounds):
            bare_seconds, our_seconds = bare(Path(folder), jobs), ours(Path(folder), jobs)
            ratios.append(our_seconds / bare_seconds)
            print(
                f"round {number + 1}: bare ffmpeg {1000 * bare_seconds / len(jobs):.0f} ms a clip, "
                f"ours {1000 * our_seconds / len(jobs):.0f} ms a clip, ratio {ratios[-1]:.2f}"
            )
        print(f"median ratio of {options.rounds} rounds, {len(jobs)} clips each: {statistics.median(ratios):.2f}")


def prepare(folder: Path, clips: int) -> list[transcode.Job]:
    """The sources, drawn, and one job per clip."""
    store = Store(folder / "store")
    (folder / "store/sources").mkdir(parents=True)
    videos = [video for video in programme(0).values() if video.state is State.GOOD][:clips]
    jobs = []
    for video in videos:
        drawn = Generated().fetch(video.video_id, folder)
        store.put_file(drawn, f"sources/{video.video_id}.mp4")
        segment = video.segments[0]
        times = (float(segment.start), float(segment.end))
        jobs.append(transcode.Job(store, video.video_id, "r", f"sources/{video.video_id}.mp4", *times, PROFILE, 60))
    return jobs


def bare(folder: Path, jobs: list[transcode.Job]) -> float:
    """Seconds of the same ffmpeg commands under xargs."""
    scripts = []
    for number, job in enumerate(jobs):
        source, made, script = (
            folder / "store" / job.source_path,
            folder / f"bare-{number}.mp4",
            folder / f"{number}.sh",
        )
        command = cut_command(source, probe_source(source), job.time_start, job.time_end, PROFILE, made)
        script.write_text(shlex.join(command))
        scripts.append(str(script))
    began = time.perf_counter()
    subprocess.run(["xargs", "-P", str(os.cpu_count()), "-n1", "sh"], input="\n".join(scripts), text=True, check=True)
    return time.perf_counter() - began


def ours(folder: Path, jobs: list[transcode.Job]) -> float:
    """Seconds of the transcode stage."""
    began = time.perf_counter()
    with LedgerWriter(Store(folder / "store"), transcode.STAGE, "benchmark") as ledger:
        for settled in fan_out(transcode.do, jobs, timeout=60):
            assert settled.value is not None, settled.error
            ledger.append(settled.value)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
