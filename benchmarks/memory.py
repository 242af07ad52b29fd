"""What keeping tensors' memory saves on a CPU: a forward pass and a training step, with `vidclf.memory.kept` and without, in turns.

python benchmarks/memory.py [MODEL …] [--batch-size 4 --rounds 5]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch.nn.functional import cross_entropy

from vidclf import memory
from vidclf.models import build, require

MODELS = ["x3d_s", "slow_r50", "r2plus1d_18", "mvit_v2_s", "cnn_lstm"]
WAYS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "as it is": contextlib.nullcontext,
    "kept": memory.kept,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads, batch {options.batch_size}")
    for name in options.models:
        of_model(name, options.batch_size, options.rounds)


def of_model(name: str, batch_size: int, rounds: int) -> None:
    view = require(name).defaults
    shape = (batch_size, 3, view.num_frames, view.crop_size, view.crop_size)
    model = build(name, 2, view.num_frames, view.crop_size, "none")
    videos, labels = torch.rand(shape), torch.arange(batch_size) % 2
    print(f"{name}, {view.num_frames} frames of {view.crop_size}×{view.crop_size}")
    model.eval()
    compare("forward pass", lambda: forward(model, videos), rounds)
    model.train()
    compare("training step", lambda: step(model, videos, labels), rounds)


def compare(what: str, do: Callable[[], None], rounds: int) -> None:
    """Medians of each way, and of the ratios of neighbours."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    faults: dict[str, list[int]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, within in WAYS.items():
            with within():
                do()
                before, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
                do()
                seconds[way].append(time.perf_counter() - began)
                faults[way].append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    ratio = statistics.median(usual / kept for usual, kept in zip(*seconds.values(), strict=True))
    spent = ", ".join(
        f"{way} {1000 * statistics.median(seconds[way]):.0f} ms and {statistics.median(faults[way]):.0f} pages cleared"
        for way in WAYS
    )
    print(f"  {what}: {ratio:.2f} times as fast; {spent}", flush=True)


def forward(model: torch.nn.Module, videos: torch.Tensor) -> None:
    with torch.inference_mode():
        model(videos)


def step(model: torch.nn.Module, videos: torch.Tensor, labels: torch.Tensor) -> None:
    cross_entropy(model(videos), labels).backward()
    model.zero_grad(set_to_none=True)


if __name__ == "__main__":
    main()
