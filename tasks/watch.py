"""Where the stages stand, as Prefect progress artifacts: on the flow run's page, with rate, time left and pauses."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException

from tasks.beside import beside
from tasks.progress import Stage, board, describe

SECONDS = 10.0


@contextlib.contextmanager
def shown_in_prefect(name: str) -> Iterator[None]:
    """Keep one progress artifact per stage of this process's board up to date while the block runs."""
    watcher = _Watcher(name)

    def watch(ended: threading.Event) -> None:
        while not ended.wait(SECONDS):
            watcher.look()

    try:
        with beside(watch, "watch"):
            yield
    finally:
        watcher.look()


class _Watcher:
    def __init__(self, name: str):
        self._name = name
        self._artifacts: dict[str, UUID] = {}
        # what is on the board already is another flow run's: of the trainings of a comparison, say
        self._shown = {stage.name: _standing(stage) for stage in board.stages()}
        self._failed = False

    def look(self) -> None:
        """Show what has changed. The work goes on where Prefect's server cannot be told."""
        try:
            for stage in board.stages():
                now = _standing(stage)
                if self._shown.get(stage.name) != now:
                    self._show(stage)
                    self._shown[stage.name] = now
        except (PrefectException, httpx.HTTPError, OSError) as error:
            if not self._failed:
                get_run_logger().warning("progress cannot be shown in Prefect: %s", error)
            self._failed = True

    def _show(self, stage: Stage) -> None:
        percent = 100.0 * min(1.0, stage.done / stage.total) if stage.total else 0.0
        total = "?" if stage.total is None else f"{stage.total:,}"
        words = ", ".join(filter(None, [f"{stage.name}: {stage.done:,} of {total}", describe(stage)]))
        if stage.name in self._artifacts:
            update_progress_artifact(self._artifacts[stage.name], progress=percent, description=words)
            return
        artifact = create_progress_artifact(
            progress=percent, key=artifact_key(self._name, stage.name), description=words
        )
        assert isinstance(artifact, UUID)
        self._artifacts[stage.name] = artifact


def _standing(stage: Stage) -> tuple[int, int | None, str]:
    return stage.done, stage.total, describe(stage)


def artifact_key(*words: str) -> str:
    """Prefect's keys: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")
