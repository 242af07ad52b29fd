"""The keeper: starts the stack's services, watches over them, and starts anew what dies.

One process per stack, the parent of all services, so that it learns how each of them ended. ``stack.json`` says which
processes run; ``logs/restarts.jsonl`` says what died when and of what, for people and for ``vidclf status``.

``up`` starts it and reads what it reports on its output: a line per service that works, then ``{"ready": true}``, or
``{"error": …}`` and nothing is started anew.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deployments import probes, record
from deployments.errors import StackError
from deployments.record import Stack
from deployments.services import WORK_POOL, Service, client_environment, log_file, servers, worker
from deployments.supervision import Running, carriers, end_all, members, start, wait_until_free
from vidclf.home import home as vidclf_home

MOST_DEATHS = 5  # of one service, within DEATHS_SECONDS; with the next one it is given up
DEATHS_SECONDS = 600.0
LONGEST_PAUSE = 30.0  # seconds; the first restart is at once, then after 1, 2, 4, …
LOOK_SECONDS = 0.25
ORPHAN_SECONDS = 10.0  # between two looks for flow runs that have outlived their worker, and died
LINES_OF_LOG = 15


@dataclass(frozen=True)
class Death:
    """A service died, and what was done about it."""

    stack: str  # the stack's id
    service: str
    at: str  # ISO 8601, UTC
    why: str  # "was killed by SIGKILL", "ended with status 1"
    given_up: bool = False


def deaths(home: Path, stack_id: str) -> list[Death]:
    """What died in this stack, in order."""
    try:
        lines = _deaths_file(home).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [death for death in (Death(**json.loads(line)) for line in lines) if death.stack == stack_id]


@dataclass
class Guarded:
    """A service, its process, and its deaths lately."""

    service: Service
    running: Running
    process: subprocess.Popen[bytes]
    died: list[float] = field(default_factory=list)  # time.monotonic()
    due: float | None = None  # time.monotonic() of its next start; None: it runs, or was given up
    given_up: bool = False

    def next_pause(self, now: float) -> float | None:
        """Seconds until it is started again, after it died ``now``; None: it dies too often."""
        self.died = [*(when for when in self.died if now - when < DEATHS_SECONDS), now]
        if len(self.died) > MOST_DEATHS:
            return None
        return 0.0 if len(self.died) == 1 else min(LONGEST_PAUSE, 2.0 ** (len(self.died) - 2))


class Keeper:
    """Of the stack that ``stack.json`` names."""

    def __init__(self, home: Path, stack: Stack):
        self._home, self._stack = home, stack
        self._api = client_environment(home, stack.ports)["PREFECT_API_URL"]
        self._guarded: dict[str, Guarded] = {}
        self._next_look = math.inf  # time.monotonic(); for flow runs that nobody watches over

    def begin(self) -> Iterator[Service]:
        """Start everything; each service, once it works.

        Raises:
            StackError: one does not; the others are left as they are.
        """
        since = datetime.now(UTC)
        yield from self._start_all(servers(self._home, self._stack.ports, self._stack.id))
        probes.close_orphaned_runs(self._api, WORK_POOL)
        yield from self._start_all([worker(self._home, self._stack.ports, self._stack.id, since)])

    def watch(self) -> None:
        """Start anew what dies, until this process is ended or nothing is left to watch."""
        while not all(guarded.given_up for guarded in self._guarded.values()):
            for guarded in self._guarded.values():
                if guarded.due is not None:
                    if time.monotonic() >= guarded.due:
                        self._restart(guarded)
                elif not guarded.given_up and (status := guarded.process.poll()) is not None:
                    self._bury(guarded, status)
            if time.monotonic() >= self._next_look:  # not at those that the worker is about to start
                probes.close_orphaned_runs(self._api, WORK_POOL, _running_here, ("RUNNING", "CANCELLING"))
                self._next_look = time.monotonic() + ORPHAN_SECONDS
            time.sleep(LOOK_SECONDS)

    def _start_all(self, services: list[Service]) -> Iterator[Service]:
        for service in services:
            running, process = start(service, log_file(self._home, service.name))
            self._guarded[service.name] = Guarded(service, running, process)
            self._record(running)
        for service in services:
            _wait_until_healthy(service, self._guarded[service.name].process, log_file(self._home, service.name))
            yield service

    def _bury(self, guarded: Guarded, status: int) -> None:
        """Say that a service died, end what it left, and settle when it is started again."""
        name, why = guarded.service.name, how_it_ended(status)
        pause = guarded.next_pause(time.monotonic())
        self._note(Death(self._stack.id, name, _now(), why, given_up=pause is None))
        end_all(members([guarded.running], ""))  # of its session; flow runs have sessions of their own, and go on
        if pause is None:
            guarded.given_up = True
            _say(f"{name} {why}, {len(guarded.died)} times in {DEATHS_SECONDS / 60:.0f} min: given up")
            return
        guarded.due = time.monotonic() + pause
        _say(f"{name} {why}; it is started again" + (f" in {pause:.0f} s" if pause else ""))

    def _restart(self, guarded: Guarded) -> None:
        name = guarded.service.name
        if name == "worker":  # nobody hands out work now: what has no process here will never have one
            probes.close_orphaned_runs(self._api, WORK_POOL, _running_here)
        if name in ("worker", "prefect"):  # from now on flow runs may end without anybody saying so to the server
            self._next_look = time.monotonic() + ORPHAN_SECONDS
        port = asdict(self._stack.ports).get(name)
        if port is not None:
            wait_until_free([port])
        log = log_file(self._home, name)
        with contextlib.suppress(FileNotFoundError):
            log.replace(log.with_name(f"{log.name}.1"))  # what it said before it died
        guarded.running, guarded.process = start(guarded.service, log)
        guarded.due = None
        self._record(guarded.running)

    def _record(self, running: Running) -> None:
        record.update(self._home, lambda stack: stack.with_service(running))

    def _note(self, death: Death) -> None:
        with _deaths_file(self._home).open("a") as file:
            file.write(json.dumps(asdict(death)) + "\n")


def how_it_ended(status: int) -> str:
    """``Popen.returncode`` in words."""
    if status >= 0:
        return f"ended with status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


def end_of(log: Path) -> str:
    """The last lines of a log."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-LINES_OF_LOG:])


def _running_here() -> set[str]:
    """Ids of the flow runs that have a process on this machine."""
    return {value for _, value in carriers("PREFECT__FLOW_RUN_ID")}


def _wait_until_healthy(service: Service, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + service.patience
    while not service.is_healthy():
        if (status := process.poll()) is not None:
            raise StackError(f"{service.name} {how_it_ended(status)}; see {log}", end_of(log))
        if time.monotonic() > deadline:
            raise StackError(f"{service.name} does not answer after {service.patience:.0f} s; see {log}", end_of(log))
        time.sleep(0.2)


def _deaths_file(home: Path) -> Path:
    return home / "logs" / "restarts.jsonl"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _say(line: str) -> None:
    sys.stderr.write(f"{_now()} {line}\n")
    sys.stderr.flush()


def _report(**said: Any) -> None:
    """To ``up``, which may be gone."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Be the keeper of the stack in ``$VIDCLF_HOME``; standard error is its log."""
    home = vidclf_home()
    keeper = Keeper(home, record.read(home))
    try:
        for service in keeper.begin():
            _report(service=service.name, url=service.url)
    except StackError as error:
        _report(error=str(error), log_end=error.log_end)
        return
    _report(ready=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # `up` waits for the end of the output
    keeper.watch()


if __name__ == "__main__":
    main()
