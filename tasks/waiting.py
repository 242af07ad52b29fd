"""What a training or an evaluation waits for, said while it waits: CPUs and GPUs that others have."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ray
from prefect import get_run_logger

from tasks.beside import beside
from tasks.progress import board

POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Needs:
    """What has to be free on the cluster before anything begins."""

    cpus: float
    gpus: float = 0.0

    def lacking(self) -> str:
        """What it waits for, as a sentence; empty where everything is free."""
        free, have = ray.available_resources(), ray.cluster_resources()
        for number, name in ((self.gpus, "GPU"), (self.cpus, "CPU")):
            if free.get(name, 0.0) < number:
                plural = "" if number == 1 else "s"
                return f"waits for {number:g} {name}{plural}; {free.get(name, 0):g} of {have.get(name, 0):g} are free"
        return ""


@contextlib.contextmanager
def told_while_waiting(stages: Sequence[str], needs: Needs) -> Iterator[None]:
    """Say on the board and in the run's log what the block waits for, until it is free or work has begun there."""
    sentence = needs.lacking()
    if not sentence:
        yield
        return
    get_run_logger().warning("%s: %s", ", ".join(stages), sentence)

    def tell(ended: threading.Event) -> None:
        lacking, done = sentence, _done(stages)
        while lacking and _done(stages) == done:
            for stage in stages:
                board.wait_for(stage, time.time() + 2 * POLL_SECONDS, lacking)
            if ended.wait(POLL_SECONDS):
                return
            lacking = needs.lacking()

    with beside(tell, "waiting"):
        yield


def _done(stages: Sequence[str]) -> int:
    return sum(stage.done for stage in board.stages() if stage.name in stages)
