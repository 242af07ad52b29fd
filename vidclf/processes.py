"""Processes: children that never outlive us, whether one still runs, and work that ends in time."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1  # prctl(2); Linux only
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """For ``Popen(preexec_fn=…)``: the kernel kills the child when the thread that started it is gone, also by a kill -9."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it does not run. With the pid, this names a process for good.

    Where there is no ``/proc`` it is 0 for every process that runs.
    """
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        return 0
    try:
        # proc(5): the second field, in parentheses, may hold anything; state is the first after it, starttime the 20th
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


@contextlib.contextmanager
def last_resort(seconds: float) -> Iterator[None]:
    """End the whole process if the block lasts ``seconds``, whatever it does, also in C that never returns to Python.

    Where it was is written to the error output.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


class DeadlinePassed(BaseException):
    """The block of ``deadline`` took too long. No ``Exception``, so that no library catches it by the way."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End the block after ``seconds``, also where it waits for a socket; what runs in C ends when it returns to Python.

    By SIGALRM, so it works in a process's main thread alone; elsewhere the block is not bounded.

    Raises:
        DeadlinePassed: inside the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def passed(number: int, frame: FrameType | None) -> None:
        raise DeadlinePassed

    before = signal.signal(signal.SIGALRM, passed)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
