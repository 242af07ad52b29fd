"""The live display of a run on a terminal: bars where it is one, a line every few seconds where it is not."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tasks.beside import beside
from tasks.progress import board, describe

LINE_SECONDS = 5.0
REFRESH_SECONDS = 0.25


@contextlib.contextmanager
def display(console: Console) -> Iterator[None]:
    """Show the stages of this process's board while the block runs."""
    show = _bars if console.is_terminal else _lines
    with beside(lambda ended: show(console, ended), "display"):
        yield


def _bars(console: Console, ended: threading.Event) -> None:
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    shown: dict[str, TaskID] = {}
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        last = False
        while not last:
            last = ended.wait(REFRESH_SECONDS)
            for stage in board.stages():
                if stage.name not in shown:
                    shown[stage.name] = progress.add_task(stage.name, note="", total=stage.total)
                progress.update(shown[stage.name], completed=stage.done, total=stage.total, note=describe(stage))


def _lines(console: Console, ended: threading.Event) -> None:
    said: dict[str, tuple[float, int, str]] = {}
    last = False
    while not last:
        last = ended.wait(REFRESH_SECONDS)
        for stage in board.stages():
            when, done, waiting = said.get(stage.name, (0.0, -1, ""))
            due = last or stage.done == stage.total or time.monotonic() - when >= LINE_SECONDS
            if (stage.done != done and due) or stage.waiting != waiting:
                said[stage.name] = (time.monotonic(), stage.done, stage.waiting)
                total = "?" if stage.total is None else stage.total
                console.print(
                    f"{stage.name:<22} {stage.done}/{total}  {describe(stage)}".rstrip(),
                    highlight=False,
                    soft_wrap=True,
                    markup=False,
                )
