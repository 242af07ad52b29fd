"""Whatever of a run is killed, and whenever: it comes to the same snapshot, and nothing settled is done again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from flows.server import free_port, prefect_server
from tests.integration.test_pipeline import ROOT, settings_file
from vidclf.errors import is_settled
from vidclf.ledger import scan, stages
from vidclf.snapshot import Snapshot, dataset_store, read_snapshot
from vidclf.storage import Store

pytestmark = pytest.mark.integration
DATASET = "dancing-demo"
SETTINGS: dict[str, Any] = {
    "annotations": {"limit": 24},
    "clips": {"short_side": 48},
    "frames": {"num_frames": 4, "side_size": 32},
    "augment": {"target_per_class": 9},
    "publish": {"min_ok_share": 0.5},
    "execution": {"num_shards": 3, "part_size": 4},
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
    victim: str = "self"  # driver, child, node


class Place:
    """Where runs of one test live: a home, and a folder for temporary files whose name is short enough for sockets."""

    def __init__(self, settings: dict[str, Any], environment: dict[str, str]):
        self.folder = Path(tempfile.mkdtemp(prefix="k"))
        self.home = self.folder / "home"
        self.temporary = self.folder / "t"
        self.temporary.mkdir()
        self.settings = settings_file(self.folder, settings)
        self.store = dataset_store(settings.get("store") or str(self.home / "store"), DATASET)
        self.environment = {**os.environ, **environment, "VIDCLF_HOME": str(self.home), "TMPDIR": str(self.temporary)}

    def start(self, *kills: Kill, **environment: str) -> subprocess.Popen[str]:
        given = {**self.environment, **environment, **self.killing(*kills)}
        return subprocess.Popen(
            [*COMMAND, self.settings], cwd=ROOT, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *kills: Kill, status: int = 0, **environment: str) -> None:
        """Run to the end, with every one of the kills."""
        with self.start(*kills, **environment) as process:
            _, said = process.communicate(timeout=300)
        assert process.returncode == status, said[-3000:]
        for kill in kills:
            assert self.came_to(kill), f"the run never came to {kill}"

    def killing(self, *kills: Kill) -> dict[str, str]:
        """What a process needs in its environment so that it, or one of its children, is killed."""
        if not kills:
            return {}
        self._kills, self._killing = kills, Path(tempfile.mkdtemp(dir=self.folder))
        (self._killing / "kills.json").write_text(json.dumps([asdict(kill) for kill in kills]))
        path = [str(ROOT / "tests/integration/killing"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        return {"KILLS": str(self._killing), "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def came_to(self, kill: Kill) -> bool:
        return (self._killing / f"{self._kills.index(kill)}.killed").exists()

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

        def make(store: str | None = None, **execution: Any) -> Place:
            place = Place({**SETTINGS, "store": store, "execution": {**SETTINGS["execution"], **execution}}, prefect)
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
    assert attempts["transcode"][-4:] in (
        [1, 2, 2, 2],
        [1, 1, 2, 2],
    )  # Ray, when pressed, calls a worker's death a machine's
    assert not place.scratch()
    assert len(temporaries(place)) <= 3  # of the kills before a rename; ``vidclf dataset gc`` takes them


#: Where a run's driver is killed. Those that a Ray worker comes to kill the driver in the middle of that worker's job.
DRIVER = {
    "the lease is taken": Kill("link", "*/lease.json", "after", "driver"),
    "before the dataset is created": Kill("link", "*/dataset.json", "before", "driver"),
    "a video is about to be stored": Kill("replace", "*/sources/*", "before", victim="driver", nth=5),
    "before a ledger write": Kill("open", "*/ledger/transcode/*", "before", "driver"),
    "in a ledger write": Kill("replace", "*/ledger/transcode/*", "before", "driver"),
    "after a ledger write": Kill("replace", "*/ledger/transcode/*", "after", "driver"),
    "ffmpeg has begun": Kill("child", "*clip.mp4.part*", "after", victim="driver", nth=5),
    "a clip is about to be stored": Kill("replace", "*/clips/*", "before", victim="driver", nth=10),
    "a clip was stored": Kill("replace", "*/clips/*", "after", victim="driver", nth=10),
    "a part of frames was stored": Kill("replace", "*/frames/*", "after", victim="driver", nth=2),
    "before the first account of variants": Kill("open", "*/ledger/augment/*", "before", "driver"),
    "in the snapshot": Kill("replace", "*/snapshots/*/stats.json", "before", "driver"),
    "after the publish": Kill("link", "*/latest.json", "after", "driver"),
}


@pytest.mark.slow
@pytest.mark.parametrize("point", DRIVER)
def test_a_killed_driver_resumes_to_the_same_snapshot(point: str, undisturbed: Snapshot, new_place: NewPlace) -> None:
    place = new_place()
    place.run(DRIVER[point], status=-signal.SIGKILL)
    resumes_as(undisturbed, place)


def test_a_run_killed_before_it_publishes_has_only_that_left_to_do(undisturbed: Snapshot, new_place: NewPlace) -> None:
    place = new_place()
    place.run(Kill("link", "*/latest.json", "before", "driver"), status=-signal.SIGKILL)
    assert not place.store.exists("latest.json")
    assert settled(place).keys() == {(stage, key) for stage in stages(place.store) for key in keys(place, stage)}
    resumes_as(undisturbed, place)
    assert len({run_id for stage in stages(place.store) for run_id in rows(place, stage)["run_id"].to_pylist()}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 2])
def test_a_run_killed_while_it_merges_ledger_files_loses_no_entry(
    nth: int, undisturbed: Snapshot, new_place: NewPlace
) -> None:
    place = new_place(num_shards=1, max_in_flight=1)  # so that a stage takes longer than a file of the ledger
    place.run(Kill("remove", "*/ledger/download/*", "before", "driver", nth), status=-signal.SIGKILL)
    assert len(rows(place, "download")) == SETTINGS["annotations"]["limit"]
    resumes_as(undisturbed, place)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_variant_is_made_again_when_its_worker_is_killed(
    when: str, undisturbed: Snapshot, new_place: NewPlace
) -> None:
    place = new_place()
    place.run(Kill("replace", f"*/frames/{undisturbed.made_by['recipes']['augment']}/*", when))
    assert place.snapshot().snapshot_id == undisturbed.snapshot_id


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_gets_there(undisturbed: Snapshot, new_place: NewPlace) -> None:
    place = new_place()
    for nth in (6, 6, 6):
        before = settled(place)
        place.run(Kill("replace", "*/clips/*", "after", victim="driver", nth=nth), status=-signal.SIGKILL)
        assert settled(place).items() >= before.items()
    resumes_as(undisturbed, place)


def resumes_as(undisturbed: Snapshot, place: Place) -> None:
    """Run again what was killed: it ends as if nothing had been, and leaves alone what was settled."""
    before = settled(place)
    place.run()
    assert settled(place).items() >= before.items(), "something settled was done again"
    snapshot = place.snapshot()
    assert snapshot.snapshot_id == undisturbed.snapshot_id
    assert not place.scratch()
    assert len(temporaries(place)) <= 4  # of work in flight; ``vidclf dataset gc`` takes them


def test_nothing_that_works_for_a_run_outlives_its_driver(new_place: NewPlace) -> None:
    place = new_place()
    place.run(Kill("child", "*clip.mp4.part*", "after", victim="driver", nth=5), status=-signal.SIGKILL)
    killed = time.monotonic()
    while working := [line for line in place.processes().values() if "ffmpeg" in line or "ray::_guarded" in line]:
        assert time.monotonic() - killed < 1, f"{working} outlived the driver"
    while others := place.processes():
        assert time.monotonic() - killed < 60, f"{others} outlived the driver"


def test_of_two_runs_at_once_one_works_and_the_other_names_it(undisturbed: Snapshot, new_place: NewPlace) -> None:
    one_works_and_the_other_names_it(new_place(), undisturbed)


def one_works_and_the_other_names_it(place: Place, undisturbed: Snapshot) -> None:
    with place.start() as first, place.start() as second:
        said = {process: process.communicate(timeout=300)[1] for process in (first, second)}
    winner, loser = (first, second) if first.returncode == 0 else (second, first)
    assert (winner.returncode, loser.returncode) == (0, 2), said
    assert place.snapshot().snapshot_id == undisturbed.snapshot_id
    (run_id,) = set(rows(place, "transcode")["run_id"].to_pylist())
    (line,) = [line for line in said[loser].splitlines() if line.startswith("vidclf: ")]
    assert line.startswith(f"vidclf: run {run_id} on {socket.gethostname()} (process {winner.pid}) works on ")


@pytest.mark.slow
def test_of_two_runs_at_once_on_a_bucket_one_works_and_the_other_names_it(
    undisturbed: Snapshot, new_place: NewPlace, bucket: str
) -> None:
    one_works_and_the_other_names_it(new_place(store=bucket), undisturbed)


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_a_bucket_to_the_next_at_once(
    undisturbed: Snapshot, new_place: NewPlace, bucket: str
) -> None:
    place = new_place(store=bucket)
    place.run(Kill("child", "*clip.mp4.part*", "after", victim="driver", nth=9), status=-signal.SIGKILL)
    assert place.store.exists("lease.json")
    resumes_as(undisturbed, place)
    assert not place.store.exists("lease.json")


@pytest.mark.slow
def test_the_death_of_one_machine_of_two_is_no_clips_fault(undisturbed: Snapshot, new_place: NewPlace) -> None:
    place = new_place()
    kill = Kill("replace", "*/clips/*", "before", nth=3, victim="node")
    place.environment |= cluster_access(place.folder)
    with ray_node(place, "--head", "--temp-dir", str(place.temporary / "r")) as address:
        with ray_node(place, "--address", address, **place.killing(kill)):
            place.run(RAY_ADDRESS=address)
        assert place.came_to(kill)
    assert place.snapshot().snapshot_id == undisturbed.snapshot_id
    assert set(rows(place, "transcode")["attempts"].to_pylist()) == {1}


def cluster_access(folder: Path) -> dict[str, str]:
    """Ray listens on all interfaces where a cluster has several machines: a secret keeps strangers out."""
    (folder / "token").write_text(secrets.token_hex(32))
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token"), "RAY_USAGE_STATS_ENABLED": "0"}


@contextlib.contextmanager
def ray_node(place: Place, *arguments: str, **environment: str) -> Iterator[str]:
    """One machine of a Ray cluster, with one CPU; the cluster's address."""
    port = free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1", *arguments]
    command += ["--object-store-memory", "100000000", "--min-worker-port", "0", "--max-worker-port", "0"]
    command += ["--include-dashboard", "false", "--port", str(port)] if "--head" in arguments else []
    given = {**place.environment, **environment, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = "".join(takewhile(lambda line: "Ray runtime started" not in line, process.stdout))
            host = re.search(r"Local node IP: (\S+)", said)
            assert host, said
            yield f"{host[1]}:{port}"
        finally:
            process.kill()  # what it started goes with its place


def rows(place: Place, stage: str) -> pa.Table:
    return scan(place.store, stage, None)


def keys(place: Place, stage: str) -> list[str]:
    return list(rows(place, stage)["key"].to_pylist())


def settled(place: Place) -> dict[tuple[str, str], Any]:
    """(stage, key) → by which run and when it was settled, and the file that it led to, as it lies in the store."""
    found = {}
    for stage in stages(place.store):
        for row in rows(place, stage).to_pylist():
            if is_settled(row["error_kind"]):
                found[stage, row["key"]] = (row["run_id"], row["finished_at"], version(place.store, row["path"]))
    return found


def version(store: Store, path: str | None) -> Any:
    """What changes when a file is written once more."""
    if path is None:
        return None
    store.fs.invalidate_cache()
    info = store.fs.info(store.full(path))
    return [info.get(name) for name in ("ino", "mtime", "ETag", "LastModified")]


def temporaries(place: Place) -> list[Path]:
    return [path for path in (place.home / "store").rglob(".*") if re.fullmatch(r"\..+\.[0-9a-f]{32}", path.name)]
