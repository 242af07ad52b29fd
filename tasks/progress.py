"""What is going on, counted per stage; shown on a terminal by whoever wants to.

Stages count on the process's one ``board``. Ray workers that have news (training, evaluation) send them through a
``Relay`` actor, which the driver reads.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import ray

from tasks.beside import beside

RATE_SECONDS = 20.0  # a rate is of the last so many


@dataclass(frozen=True)
class Stage:
    """Where a stage stands."""

    name: str
    done: int = 0
    total: int | None = None
    failed: int = 0
    note: str = ""
    waiting: str = ""  # for whom, and until when
    waits_until: float = 0.0  # seconds since the epoch
    marks: tuple[tuple[float, int], ...] = ()  # (time.monotonic, done), of the last RATE_SECONDS

    @property
    def rate(self) -> float:
        """Done per second, lately; 0 where nothing is known yet."""
        if len(self.marks) < 2:
            return 0.0
        (began, before), (ended, after) = self.marks[0], self.marks[-1]
        return (after - before) / (ended - began) if ended > began else 0.0


def describe(stage: Stage) -> str:
    """What is worth saying of a stage beside its count: failures, the rate, the time left, for whom it waits."""
    waits = stage.waits_until > time.time()
    if stage.note:
        return stage.waiting if waits else stage.note
    parts = [f"{stage.failed} failed"] if stage.failed else []
    if stage.rate and stage.total and stage.done < stage.total:
        parts += [f"{stage.rate:.1f}/s", f"{duration((stage.total - stage.done) / stage.rate)} left"]
    if waits:
        parts.append(stage.waiting)
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 3.5 h, 2.1 d."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 86400 else f"{seconds / 86400:.1f} d"


class Board:
    """The stages of this process, in the order in which they appeared. Safe to use from several threads."""

    def __init__(self) -> None:
        self._stages: dict[str, Stage] = {}
        self._lock = threading.Lock()

    def stages(self) -> list[Stage]:
        with self._lock:
            return list(self._stages.values())

    def reset(self) -> None:
        with self._lock:
            self._stages.clear()

    def expect(self, name: str, more: int) -> None:
        """``more`` items are known to be coming."""
        self._update(name, lambda stage: replace(stage, total=(stage.total or 0) + more))

    def advance(self, name: str, done: int = 1, failed: int = 0) -> None:
        self._update(name, lambda stage: replace(stage, done=stage.done + done, failed=stage.failed + failed))

    def wait_for(self, name: str, until: float, sentence: str) -> None:
        """The stage waits until then."""
        self._update(name, lambda stage: replace(stage, waiting=sentence, waits_until=until))

    def put(self, name: str, done: int, total: int | None, note: str = "") -> None:
        """Set where a stage stands, as its worker says."""
        self._update(name, lambda stage: replace(stage, done=done, total=total, note=note))

    def _update(self, name: str, change: Callable[[Stage], Stage]) -> None:
        now = time.monotonic()
        with self._lock:
            old = self._stages.get(name, Stage(name))
            new = change(old)
            if new.done != old.done:
                new = replace(new, marks=_marked(old.marks or ((now, old.done),), (now, new.done)))
            self._stages[name] = new


def _marked(marks: tuple[tuple[float, int], ...], mark: tuple[float, int]) -> tuple[tuple[float, int], ...]:
    """``marks`` with another one behind, half a second apart at least, and none that is too old."""
    if len(marks) > 1 and marks[-1][0] - marks[-2][0] < 0.5:
        marks = marks[:-1]
    recent = tuple(kept for kept in marks if mark[0] - kept[0] < RATE_SECONDS)
    return (*(recent or marks[-1:]), mark)


board = Board()


class Relay:
    """Carries the latest news of each stage from Ray workers to the driver."""

    def __init__(self) -> None:
        self._news: dict[str, tuple[int, int | None, str]] = {}

    def put(self, name: str, done: int, total: int | None, note: str) -> None:
        self._news[name] = (done, total, note)

    def take(self) -> dict[str, tuple[int, int | None, str]]:
        news, self._news = self._news, {}
        return news


Reporter = Callable[[str, int, "int | None", str], None]  # stage, done, total, note


@contextlib.contextmanager
def relayed(poll_seconds: float = 0.5) -> Iterator[Reporter]:
    """A function that Ray workers can call to move a stage on this process's board."""
    relay = ray.remote(Relay).options(num_cpus=0).remote()

    def copy() -> None:
        for name, (done, total, note) in ray.get(relay.take.remote()).items():
            board.put(name, done, total, note)

    def poll(ended: threading.Event) -> None:
        while not ended.wait(poll_seconds):
            with contextlib.suppress(ray.exceptions.RayError):
                copy()

    try:
        with beside(poll, "progress"):
            yield _Sender(relay)
    finally:
        with contextlib.suppress(ray.exceptions.RayError):
            copy()
        ray.kill(relay)


class _Sender:
    """Picklable, and at most ten messages a second and stage."""

    def __init__(self, relay: ray.actor.ActorHandle):
        self._relay = relay
        self._sent: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        now = time.monotonic()
        if done == total or now - self._sent.get(stage, 0.0) >= 0.1:
            self._sent[stage] = now
            self._relay.put.remote(stage, done, total, note)
