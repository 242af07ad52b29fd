"""The one place that submits work to Ray and waits for it.

Bounded, timed, retried by kind of error, cancellable. Ray's own retries are off: what is tried again, and how often,
is decided and counted here.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import ray
from ray import exceptions as ray_errors

from tasks.cluster import Lately, living_nodes, num_cpus, smallest_node_cpus
from tasks.starts import Clock, on_the_clock
from vidclf.errors import CLIP_ERRORS, ClipError, Crashed, Postponed, Retry, StorageError, TimedOut, VidclfError
from vidclf.processes import DeadlinePassed, deadline, die_with_parent, last_resort
from vidclf.scratch import exhausted

Job = TypeVar("Job")
Value = TypeVar("Value")

GRACE_SECONDS = 30.0  # a worker ends its own work in time; one that does not is ended with it so much later
BACKOFF_SECONDS = 1.0  # doubled with each try, with full jitter
POLL_SECONDS = 0.2
MAX_LOST = 5  # machines that may die under one job; after that it is the job's doing
EMPTY_MACHINE_SECONDS = 300.0  # that a job which is to run alone waits for one
MAX_WAITING = 256  # jobs that wait for their turn, of one fan-out: enough to fill every host's


class Cancelled(Exception):
    """The run is being ended; what was in flight was cancelled."""


@dataclass(frozen=True)
class Settled(Generic[Job, Value]):
    """How a job ended: with a value, or with an error that is the clip's own."""

    job: Job
    value: Value | None
    error: ClipError | None
    attempts: int
    seconds: float  # of the last attempt, in the worker


@dataclass
class _Try(Generic[Job]):
    job: Job
    attempt: int = 1
    alone: bool = False
    beside_others: bool = False  # alone in its fan-out only: no machine could be had for it
    lost: int = 0  # machines that died under it
    not_before: float = 0.0
    submitted: float = 0.0
    name: str = ""
    nodes: frozenset[str] = frozenset()


class Slots:
    """The bound on Ray tasks in flight, over all stages and threads of the process."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._limit = 0
        self._taken = 0

    def limit_to(self, limit: int) -> None:
        with self._condition:
            self._limit = limit
            self._condition.notify_all()

    def take(self, wait: float) -> bool:
        with self._condition:
            limit = self._limit or 2 * _num_cpus()
            if not self._condition.wait_for(lambda: self._taken < limit, timeout=wait):
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        with self._condition:
            self._taken -= 1
            self._condition.notify()


_num_cpus = Lately(num_cpus)
_living_nodes = Lately(living_nodes)
slots = Slots()
clock = Clock()
stopping = threading.Event()  # set: every fan-out of the process cancels its work and raises Cancelled


def fan_out(
    do: Callable[[Job], Value],
    jobs: Iterable[Job],
    *,
    timeout: float,
    attempts: int = 1,
    cpus: float = 1.0,
    gpus: float = 0.0,
    held: Callable[[], bool] = lambda: False,
    on_postponed: Callable[[Postponed], None] = lambda postponed: None,
) -> Iterator[Settled[Job, Value]]:
    """Run ``do(job)`` for every job as a Ray task, and yield each as it settles, in no particular order.

    Args:
        do: a module-level function that does not import Prefect, directly or not.
        jobs: small and picklable; taken only as places become free.
        timeout: seconds a job may take in its worker, which ends it then, or some time later itself with it.
            Waiting in Ray's queue does not count.
        attempts: tries for errors that may pass (``Retry.BACKOFF``) and for the store's.
        cpus: CPUs of one job.
        gpus: GPUs of one job.
        held: while it is true, no further job is begun; what is in flight goes on.
        on_postponed: told of every job that has to wait for its host's turn.

    Raises:
        StorageError: a job's store, or its machine's disk, failed ``attempts`` times.
        VidclfError: a job raised one that is not its clip's, as ``ConfigError``.
        Cancelled: ``stopping`` was set.
    """
    loop = _Loop(do, jobs, timeout, attempts, cpus, gpus, held, on_postponed)
    try:
        yield from loop.run()
    finally:
        loop.cancel()


@dataclass
class _Loop(Generic[Job, Value]):
    do: Callable[[Job], Value]
    jobs: Iterable[Job]
    timeout: float
    attempts: int
    cpus: float
    gpus: float
    held: Callable[[], bool]
    on_postponed: Callable[[Postponed], None]
    running: dict[Any, _Try[Job]] = field(default_factory=dict)
    again: deque[_Try[Job]] = field(default_factory=deque)

    def run(self) -> Iterator[Settled[Job, Value]]:
        self.remote = self._remote(self.cpus)
        clock.open()
        self.fresh = iter(self.jobs)
        self.exhausted = False
        while True:
            if stopping.is_set():
                raise Cancelled("the run was stopped")
            if not (self._submit_what_fits() or self.running or self.again):
                return
            if not self.running:
                stopping.wait(POLL_SECONDS / 10)  # everything waits for a place, a turn or the budget
                continue
            ready, _ = ray.wait(list(self.running), num_returns=1, timeout=POLL_SECONDS)
            if ready:
                ready, _ = ray.wait(list(self.running), num_returns=len(self.running), timeout=0)
            for reference in ready:
                yield from self._settle(reference)
            self._put_back_what_waits_in_vain()

    def cancel(self) -> None:
        for reference in list(self.running):
            self._kill(reference)

    def _submit_what_fits(self) -> bool:
        """Submit until places or jobs run out; whether there may be more jobs."""
        while (attempt := self._next()) is not None:
            if not slots.take(wait=0.0 if self.running else POLL_SECONDS):
                self.again.appendleft(attempt)
                return True
            self._submit(attempt)
        return not self.exhausted

    def _remote(self, cpus: float) -> Any:
        return ray.remote(_guarded).options(num_cpus=cpus, num_gpus=self.gpus, max_retries=0)

    def _submit(self, attempt: _Try[Job]) -> None:
        remote = self.remote
        if attempt.alone and not attempt.beside_others:
            remote = self._remote(max(self.cpus, smallest_node_cpus()))  # no neighbour of another stage
        submitted = replace(attempt, submitted=time.monotonic(), name=uuid.uuid4().hex, nodes=_living_nodes())
        reference = remote.remote(self.do, attempt.job, self.timeout, GRACE_SECONDS, clock.name, submitted.name)
        self.running[reference] = submitted

    def _next(self) -> _Try[Job] | None:
        if any(attempt.alone for attempt in self.running.values()):
            return None
        now = time.monotonic()
        for _ in range(len(self.again)):
            attempt = self.again.popleft()
            if attempt.not_before <= now and not (attempt.alone and self.running):
                return attempt
            self.again.append(attempt)
        if self.exhausted or len(self.again) >= MAX_WAITING or self.held():
            return None
        try:
            return _Try(next(self.fresh))
        except StopIteration:
            self.exhausted = True
            return None

    def _settle(self, reference: Any) -> Iterator[Settled[Job, Value]]:
        attempt = self._forget(reference)
        try:
            value, kind, message, seconds = ray.get(reference)
        except ray_errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, StorageError) and attempt.attempt < self.attempts:
                self._later(attempt)
                return
            raise cause if isinstance(cause, VidclfError) else error from None
        except ray_errors.TaskCancelledError:
            yield from self._retry_or_settle(attempt, TimedOut(f"took longer than {self.timeout:g} s"), self.timeout)
            return
        except (ray_errors.NodeDiedError, ray_errors.WorkerCrashedError, ray_errors.OutOfMemoryError) as error:
            if isinstance(error, ray_errors.NodeDiedError) or attempt.nodes - _living_nodes():
                if attempt.lost < MAX_LOST:
                    # The machine died, which says nothing of the clip: it is no attempt.
                    self.again.append(replace(attempt, lost=attempt.lost + 1))
                    return
                end: ClipError = Crashed(f"{MAX_LOST + 1} machines died while they worked on it")
            elif self._ended_itself(attempt):
                end = TimedOut(f"took longer than {self.timeout:g} s and did not end by itself")
            else:
                what = "ran out of memory" if isinstance(error, ray_errors.OutOfMemoryError) else "died"
                end = Crashed(f"the process that worked on it {what}")
            yield from self._retry_or_settle(attempt, end, time.monotonic() - attempt.submitted)
            return
        if isinstance(value, Postponed):
            self._wait_its_turn(attempt, value)
        elif kind is None:
            yield Settled(attempt.job, value, None, attempt.attempt, seconds)
        else:
            yield from self._retry_or_settle(attempt, CLIP_ERRORS[kind](message), seconds)

    def _ended_itself(self, attempt: _Try[Job]) -> bool:
        """Whether a worker that died did so because its time was over, as ``_guarded`` has it do."""
        if time.monotonic() - attempt.submitted < self.timeout + GRACE_SECONDS:
            return False
        return (clock.seconds(attempt.name) or 0.0) >= self.timeout  # it may have waited in Ray's queue

    def _retry_or_settle(self, attempt: _Try[Job], error: ClipError, seconds: float) -> Iterator[Settled[Job, Value]]:
        if error.retry is Retry.BACKOFF and attempt.attempt < self.attempts:
            self._later(attempt)
        elif error.retry is Retry.WHEN_ALLOWED and attempt.attempt < self.attempts:
            self.again.append(
                replace(attempt, attempt=attempt.attempt + 1, not_before=0.0)
            )  # it will be told how long to wait
        elif error.retry is Retry.ONCE_ALONE and not attempt.alone:
            self.again.append(replace(attempt, attempt=attempt.attempt + 1, alone=True, not_before=0.0))
        else:
            yield Settled(attempt.job, None, error, attempt.attempt, seconds)

    def _later(self, attempt: _Try[Job]) -> None:
        wait = random.uniform(0.0, BACKOFF_SECONDS * 2**attempt.attempt)
        self.again.append(replace(attempt, attempt=attempt.attempt + 1, not_before=time.monotonic() + wait))

    def _wait_its_turn(self, attempt: _Try[Job], postponed: Postponed) -> None:
        self.on_postponed(postponed)
        job: Any = attempt.job if postponed.then is None else postponed.then
        wait = max(0.0, postponed.until - time.time())
        self.again.append(replace(attempt, job=job, not_before=time.monotonic() + wait))

    def _put_back_what_waits_in_vain(self) -> None:
        """Who was to have a machine of its own and gets none has at least none of this fan-out beside it."""
        now = time.monotonic()
        for reference, attempt in list(self.running.items()):
            if not attempt.alone or attempt.beside_others or now - attempt.submitted < EMPTY_MACHINE_SECONDS:
                continue
            if clock.seconds(attempt.name) is None:
                self._kill(reference)
                self.again.append(replace(attempt, beside_others=True))
            else:
                self.running[reference] = replace(attempt, beside_others=True)  # it has begun: not asked again

    def _kill(self, reference: Any) -> None:
        ray.cancel(reference, force=True)
        self._forget(reference)

    def _forget(self, reference: Any) -> _Try[Job]:
        attempt = self.running.pop(reference)
        slots.give_back()
        return attempt


def _guarded(
    do: Callable[[Any], Any], job: Any, timeout: float, grace: float, clock_name: str, name: str
) -> tuple[Any, str | None, str | None, float]:
    """In the worker: the value, or the kind and message of the clip's own error; and the seconds it took."""
    die_with_parent()  # Ray's own way takes seconds, in which the work of a killed run would go on
    began = time.perf_counter()
    try:
        with on_the_clock(clock_name, name), last_resort(timeout + grace), deadline(timeout):
            return do(job), None, None, time.perf_counter() - began
    except DeadlinePassed:
        return None, TimedOut.kind, f"took longer than {timeout:g} s", time.perf_counter() - began
    except ClipError as error:
        return None, error.kind, str(error), time.perf_counter() - began
    except Postponed as postponed:
        return postponed, None, None, time.perf_counter() - began
    except VidclfError:
        raise  # the request's fault, or the store's: not the clip's
    except Exception as error:  # hostile input finds what nobody thought of; it costs its clip, with a reason
        if trouble := exhausted(error):
            raise trouble from error  # of this machine, not of the clip
        return None, Crashed.kind, f"{type(error).__name__}: {error}"[:500], time.perf_counter() - began
