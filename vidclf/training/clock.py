"""How long an epoch's steps took, and how much of that was waiting for clips."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch


class Clock:
    """Of one epoch's training. It can go on from where another one stood, after a resume.

    On a GPU, events in its own queue tell when it ran dry: the host, which runs ahead of it, cannot.
    """

    def __init__(self, device: torch.device, seconds: float = 0.0, waited: float = 0.0, device_waited: float = 0.0):
        self._cuda = device if device.type == "cuda" else None
        self._seconds, self._began = seconds, time.perf_counter()
        self._waited, self._device_waited = waited, device_waited
        self._marks: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While clips are fetched and brought to the device."""
        began, before = time.perf_counter(), self._mark()
        yield
        after = self._mark()
        if before is not None and after is not None:
            self._marks.append((before, after))
        self._waited += time.perf_counter() - began

    def read(self) -> dict[str, float]:
        """Seconds: of the epoch so far, waited by the host, and by the GPU. Waits for it to be done."""
        if self._cuda is not None:
            torch.cuda.synchronize(self._cuda)
            self._device_waited += sum(before.elapsed_time(after) for before, after in self._marks) / 1000
            self._marks.clear()
        seconds = self._seconds + time.perf_counter() - self._began
        return {"seconds": seconds, "waited": self._waited, "device_waited": self._device_waited}

    def _mark(self) -> torch.cuda.Event | None:
        if self._cuda is None:
            return None
        mark = torch.cuda.Event(enable_timing=True)
        mark.record(torch.cuda.current_stream(self._cuda))
        return mark
