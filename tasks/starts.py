"""When jobs began in their workers, as these say themselves: what waits in Ray's queue has not begun."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import ray

_NAME = f"vidclf-starts-{uuid.uuid4().hex}"  # one for each driver
_WORKER = uuid.uuid4().hex


class Starts:
    """What every worker began last. Its memory does not grow with the number of jobs."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}  # worker → job, time.monotonic()
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        self._forgot: float | None = time.monotonic() if restarted else None

    def began(self, worker: str, job: str) -> None:
        self._last[worker] = (job, time.monotonic())

    def seconds(self, jobs: Sequence[tuple[str, float]]) -> dict[str, float]:
        """For how long jobs have been worked on, of those that have begun.

        Args:
            jobs: names, and the seconds since they were submitted. What was submitted before this actor lost its memory
                counts as begun then.
        """
        now = time.monotonic()
        began = {job: now - at for job, at in self._last.values()}
        if self._forgot is not None:
            since = now - self._forgot
            began = {job: since for job, submitted in jobs if submitted > since} | began
        return {job: began[job] for job, _ in jobs if job in began}


def open_starts() -> ray.actor.ActorHandle:
    """This driver's one ``Starts`` actor."""
    return ray.remote(Starts).options(name=_NAME, get_if_exists=True, num_cpus=0, max_restarts=-1).remote()


def report(starts: ray.actor.ActorHandle, job: str) -> None:
    """In a worker: ``job`` begins now. Nobody waits for the answer."""
    starts.began.remote(_WORKER, job)
