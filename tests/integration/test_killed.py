"""Whatever of a run is killed, and whenever: it comes to the same snapshot, and nothing settled is done again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from flows.server import prefect_server
from tests.integration.test_pipeline import ROOT, settings_file
from vidclf.ledger import scan, stages
from vidclf.snapshot import Snapshot, dataset_store, read_snapshot
from vidclf.storage import Store

pytestmark = pytest.mark.integration
DATASET = "dancing-demo"
SETTINGS: dict[str, Any] = {
    "annotations": {"limit": 40},
    "clips": {"short_side": 48},
    "frames": {"num_frames": 4, "side_size": 32},
    "augment": {"target_per_class": 12},
    "publish": {"min_ok_share": 0.5},
    "execution": {"num_shards": 3, "part_size": 8},
}
COMMAND = [sys.executable, "-m", "vidclf", "run", "ingest/demo", "--config"]


@dataclass(frozen=True)
class Kill:
    """A kill -9 at a named point; see ``killing/sitecustomize.py``."""

    at: str  # replace, link, remove, open, child
    path: str  # a pattern
    when: str = "before"
    by: str = "worker"  # the process that reaches the point
    nth: int = 1
    victim: str = "self"


class Place:
    """Where runs of one test live: a home, and a folder for temporary files whose name is short enough for sockets."""

    def __init__(self, settings: dict[str, Any], environment: dict[str, str]):
        self.folder = Path(tempfile.mkdtemp(prefix="k"))
        self.home = self.folder / "home"
        self.temporary = self.folder / "t"
        self.temporary.mkdir()
        self.settings = settings_file(self.folder, settings)
        self.environment = {**os.environ, **environment, "VIDCLF_HOME": str(self.home), "TMPDIR": str(self.temporary)}
        self.kills = 0

    @property
    def store(self) -> Store:
        return dataset_store(str(self.home / "store"), DATASET)

    def start(self, *kills: Kill, **environment: str) -> subprocess.Popen[str]:
        given = {**self.environment, **environment}
        if kills:
            self.kills += 1
            (self._killing() / "kills.json").parent.mkdir()
            (self._killing() / "kills.json").write_text(json.dumps([asdict(kill) for kill in kills]))
            inherited = os.environ.get("PYTHONPATH", "")
            given["KILLS"] = str(self._killing())
            given["PYTHONPATH"] = f"{ROOT / 'tests/integration/killing'}{os.pathsep}{inherited}"
        command = [*COMMAND, self.settings]
        return subprocess.Popen(
            command, cwd=ROOT, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *kills: Kill, status: int = 0) -> str:
        """Run to the end, with every one of the kills; what it said."""
        with self.start(*kills) as process:
            _, said = process.communicate(timeout=300)
        assert process.returncode == status, said[-3000:]
        for number, kill in enumerate(kills):
            assert (self._killing() / f"{number}.killed").exists(), f"the run never came to {kill}"
        return said

    def snapshot(self) -> Snapshot:
        return read_snapshot(self.store)

    def processes(self) -> dict[int, str]:
        """pid → command line, of everything that runs for this home."""
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.environ().get("VIDCLF_HOME") == str(self.home) and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = " ".join(process.cmdline())
        return found

    def scratch(self) -> list[Path]:
        return list(self.temporary.glob("vidclf-scratch-*/*"))

    def _killing(self) -> Path:
        return self.folder / f"kills{self.kills}"

    def end(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


NewPlace = Callable[..., Place]


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One server for all the runs, since its start takes longer than a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDCLF_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_HOME", "set by the next line")
        patch.delenv("PREFECT_API_URL", raising=False)
        with prefect_server() as address:
            yield {"PREFECT_API_URL": address}


@pytest.fixture
def new_place(prefect: dict[str, str]) -> Iterator[NewPlace]:
    with contextlib.ExitStack() as stack:

        def make(execution: dict[str, Any] | None = None, **environment: str) -> Place:
            settings = {**SETTINGS, "execution": {**SETTINGS["execution"], **(execution or {})}}
            place = Place(settings, {**prefect, **environment})
            stack.callback(place.end)
            return place

        yield make


@pytest.fixture(scope="module")
def undisturbed(prefect: dict[str, str]) -> Iterator[Snapshot]:
    place = Place(SETTINGS, prefect)
    place.run()
    yield place.snapshot()
    place.end()


def test_workers_and_ffmpegs_that_are_killed_cost_only_time(undisturbed: Snapshot, new_place: NewPlace) -> None:
    place = new_place()
    place.run(
        Kill("replace", "*/sources/*", "before", nth=2),
        Kill("replace", "*/sources/*", "after", nth=7),
        Kill("replace", "*/clips/*", "before", nth=3),
        Kill("replace", "*/clips/*", "after", nth=9),
        Kill("child", "*clip.mp4.part*", "after", nth=14, victim="child"),
        Kill("replace", "*/frames/*", "before", nth=1),
        Kill("replace", "*/frames/*", "after", nth=4),
    )
    assert place.snapshot().snapshot_id == undisturbed.snapshot_id
    assert place.snapshot().stats["errors"] == undisturbed.stats["errors"]
    attempts = {stage: sorted(rows(place, stage)["attempts"].to_pylist()) for stage in ("download", "transcode")}
    assert attempts["transcode"][-4:] == [1, 2, 2, 2]
    assert not place.scratch()
    assert len(temporaries(place)) <= 3  # of the kills before a rename; ``vidclf dataset gc`` takes them


def rows(place: Place, stage: str) -> pa.Table:
    return scan(place.store, stage, None)


def settled(place: Place) -> dict[tuple[str, str], Any]:
    """(stage, key) → by which run and when it was settled, and the file that it led to, as it is on the disk."""
    found = {}
    for stage in stages(place.store):
        for row in rows(place, stage).to_pylist():
            if row["outcome"] == "ok" or row["error_kind"] == "gone":
                file = Path(place.store.full(row["path"])).stat() if row["path"] else None
                found[stage, row["key"]] = (row["run_id"], row["finished_at"], file and (file.st_ino, file.st_mtime_ns))
    return found


def temporaries(place: Place) -> list[Path]:
    return [path for path in (place.home / "store").rglob(".*") if re.fullmatch(r"\..+\.[0-9a-f]{32}", path.name)]
