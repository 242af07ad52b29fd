"""For how long jobs have been worked on, as their workers say: what waits in Ray's queue has not begun.

Only a job that lasts is reported, by a thread of its worker, so that the many short ones cost nothing.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator

import ray

REPORT_SECONDS = 1.0  # a job that takes less is not heard of

_worker = uuid.uuid4().hex
_current: tuple[str, str, float] | None = None  # actor, job, time.monotonic() at its beginning
_reporter: threading.Thread | None = None


class Starts:
    """What every worker began last. Its memory does not grow with the number of jobs."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}  # worker → job, time.monotonic() at its beginning

    def began(self, worker: str, job: str, seconds: float) -> None:
        self._last[worker] = (job, time.monotonic() - seconds)

    def seconds(self, job: str) -> float | None:
        """How long ago a job began; None: it did not, or just now."""
        return next((time.monotonic() - began for name, began in self._last.values() if name == job), None)


class Clock:
    """This driver's clock of its jobs: one ``Starts`` actor, which is made when first needed."""

    def __init__(self) -> None:
        self.name = f"vidclf-starts-{uuid.uuid4().hex}"
        self._lock = threading.Lock()
        self._made: ray.actor.ActorHandle | None = None  # the actor lives as long as this

    def open(self) -> None:
        """Have the actor there; the one of an earlier connection to Ray is gone with it."""
        with self._lock:
            try:
                ray.get_actor(self.name)
            except ValueError:
                self._made = ray.remote(Starts).options(name=self.name, num_cpus=0, max_restarts=-1).remote()

    def seconds(self, job: str) -> float | None:
        """How long ago ``job`` began; None: nobody has said that it did."""
        try:
            found: float | None = ray.get(ray.get_actor(self.name).seconds.remote(job))
        except (ValueError, ray.exceptions.RayActorError):  # its machine died, and what it knew is lost
            return None
        return found


@contextlib.contextmanager
def on_the_clock(clock: str, job: str) -> Iterator[None]:
    """In a worker: the block is the work on ``job``. ``clock`` is the name of the driver's."""
    global _current, _reporter
    if _reporter is None:
        _reporter = threading.Thread(target=_report, name="starts", daemon=True)
        _reporter.start()
    _current = (clock, job, time.monotonic())
    try:
        yield
    finally:
        _current = None


def _report() -> None:
    said = None
    while True:
        time.sleep(REPORT_SECONDS / 2)
        current = _current
        if current is None or current == said or time.monotonic() - current[2] < REPORT_SECONDS:
            continue
        clock, job, began = current
        with contextlib.suppress(ValueError, RuntimeError, ray.exceptions.RayError):  # the clock is away: next time
            ray.get_actor(clock).began.remote(_worker, job, time.monotonic() - began)
            said = current
