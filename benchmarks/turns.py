"""Two programs that take turns on one machine, a few seconds each: while one computes, the other is stopped with all its processes.

A shared machine's speed drifts by more than what is to be measured. Whoever takes turns this quickly meets the same drift.
"""

from __future__ import annotations

import contextlib
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil


class Stamps:
    """Called after each step, also in another process: writes down when that was. Picklable."""

    def __init__(self, path: Path):
        self._path = path

    def __call__(self) -> None:
        with self._path.open("a") as file:
            file.write(f"{time.monotonic()}\n")


@dataclass
class Program:
    """One that stamps its steps, and may only run when it is its turn."""

    command: Sequence[str]
    stamps: Path
    environment: Mapping[str, str]
    turns: list[tuple[float, float]] = field(default_factory=list)  # time.monotonic
    _process: psutil.Popen | None = None

    def run(self, seconds: float = float("inf"), steps: int | None = None) -> bool:
        """Let it run for so long, or until it has made so many steps, or to its end: False.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        began = time.monotonic()
        self._wake()
        assert self._process is not None
        while (running := self._process.poll() is None) and time.monotonic() - began < seconds:
            if steps is not None and len(self.made()) >= steps:
                break
            time.sleep(0.05)
        self._stop()
        self.turns.append((began, time.monotonic()))
        if not running and self._process.returncode:
            raise subprocess.CalledProcessError(self._process.returncode, self.command)
        return running

    def made(self) -> list[float]:
        """When its steps ended."""
        return [float(line) for line in self.stamps.read_text().splitlines()] if self.stamps.exists() else []

    def seconds(self, until: float) -> float:
        """How long it had run by then."""
        return sum(max(0.0, min(until, ended) - began) for began, ended in self.turns)

    def end(self) -> None:
        """End it, if it still runs."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _wake(self) -> None:
        if self._process is None:
            self._process = psutil.Popen(self.command, env=self.environment)
        self._tell(signal.SIGCONT)

    def _stop(self) -> None:
        """Stop all; again, for those that were started meanwhile."""
        stopped = -1
        while stopped != (stopped := self._tell(signal.SIGSTOP)):
            pass

    def _tell(self, number: signal.Signals) -> int:
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return len(family)

    def _family(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        return [*self._process.children(recursive=True), self._process]


@dataclass(frozen=True)
class Step:
    """One of a program's."""

    number: int
    seconds: float  # that the program ran
    turn: int  # in which it ended


def take_turns(programs: Sequence[Program], seconds: float, warm_up: int) -> list[list[Step]]:
    """Run the programs in turns until one of them ends, and the others to their ends.

    Args:
        seconds: of a turn.
        warm_up: steps that each makes alone before that.

    Returns:
        Of each program, the steps that ended while they took turns.
    """
    with _ended(programs):
        for program in programs:
            program.run(steps=warm_up)
        while all([program.run(seconds) for program in programs]):
            pass
        found = [_steps(program, warm_up, len(programs[-1].turns) - 1) for program in programs]
        for program in programs:
            program.run()
    return found


def ratios(slower: Sequence[Step], faster: Sequence[Step]) -> list[float]:
    """Of each pair of neighbouring turns: mean seconds of a step of ``faster`` by those of ``slower``."""
    by_turn = [{step.turn for step in steps} for steps in (slower, faster)]
    return [_mean(faster, turn) / _mean(slower, turn) for turn in sorted(set.intersection(*by_turn))]


def _mean(steps: Sequence[Step], turn: int) -> float:
    return statistics.mean(step.seconds for step in steps if step.turn == turn)


def _steps(program: Program, warm_up: int, last_turn: int) -> list[Step]:
    ends = program.made()
    steps = []
    for number in range(warm_up, len(ends)):
        turn = next(index for index, (began, ended) in enumerate(program.turns) if began <= ends[number] <= ended)
        if 0 < turn < last_turn:
            seconds = program.seconds(ends[number]) - program.seconds(ends[number - 1])
            steps.append(Step(number, seconds, turn))
    return steps


@contextlib.contextmanager
def _ended(programs: Sequence[Program]) -> Iterator[None]:
    try:
        yield
    finally:
        for program in programs:
            program.end()
