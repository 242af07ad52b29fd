"""Retraining as a whole: when the champion changes and when it stays, also with kill -9, and with two at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.server import prefect_server
from tests.integration.test_killed import Kill
from tests.integration.test_pipeline import ROOT, left_behind, settings_file
from tests.snapshotted import DATASET, snapshotted
from vidclf import tracking
from vidclf.home import default_store
from vidclf.lease import hold
from vidclf.retraining import records
from vidclf.snapshot import dataset_store, point_latest_at, write_snapshot
from vidclf.tracking import promotion, registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("default"),  # MLflow, in this process, has some of its own
]

DATA = {"num_frames": 2, "sampling_rate": 1, "side_size": 32, "crop_size": 32, "horizontal_flip": 0.0}
#: Finds all of the twenty test videos, and half of them, which is guessing.
GOOD = {"model": "cnn_lstm", "data": DATA, "optim": {"epochs": 4, "batch_size": 4, "learning_rate": 0.001}}
BAD = {"model": "cnn_lstm", "data": DATA, "optim": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-9}}
MOVED = ("train-dark-0", "train-light-0")  # training clips of the first snapshot, test clips of the second


#: Several retrainings in one process, and what is done by hand between them.
SCRIPT = """
import json, sys
from prefect import flow
from flows.retrain import retrain
from tasks.cluster import cluster
from tasks.retrain import carry_out, judge, retraining
from vidclf.config import RetrainConfig
from vidclf.tracking import promotion, registry

@flow
def retrain_while_the_champion_changes(settings):
    name = settings["model_name"]
    challenger = promotion.contestant(registry.register("models:/first/2", name))
    with retraining(RetrainConfig(**settings)) as run:
        decision = judge(run, settings["snapshot"], challenger, "it was due")
        registry.remove_alias(name, "champion")
        overtaken = carry_out(run, decision) is None and not promotion.by_alias(name)
        done = carry_out(run, judge(run, settings["snapshot"], challenger, "it was due"))
    return overtaken, done

with cluster():
    for name, settings in json.loads(sys.argv[1]):
        if settings == "register":
            registry.register("models:/first/1", name, ["champion"])
        elif settings == "rollback":
            promotion.rollback(name)
        else:
            changing = retrain_while_the_champion_changes(settings) if name == "changing" else None
            overtaken, done = changing or (False, retrain(**settings))
            aliases = {alias: one.version for alias, one in promotion.by_alias(name).items()}
            print(json.dumps({"outcome": done.outcome, "sentence": done.sentence, "aliases": aliases, "overtaken": overtaken}))
"""


def settings_of(name: str, training: dict[str, Any], snapshot: str, **settings: Any) -> dict[str, Any]:
    """Parameters of ``retrain`` for the registered model ``name``."""
    return {
        "dataset": DATASET, "model_name": name, "ingest": None, "training": training, "snapshot": snapshot,
        "num_ensemble_views": 1, "judging": {"num_actors": 1}, "experiment": "retrained", **settings,
    }  # fmt: skip


@dataclass(frozen=True)
class World:
    """A home with two snapshots of a dataset, of which the second has twice as many training clips."""

    home: Path
    server: str
    first: str
    second: str

    def start(self, name: str, training: dict[str, Any], snapshot: str, *kills: Kill, **settings: Any) -> Run:
        """``vidclf run retrain/demo`` for the registered model ``name``."""
        folder = Path(tempfile.mkdtemp(dir=self.home))
        given = settings_of(name, training, snapshot, **settings)
        environment = {**os.environ, "VIDCLF_HOME": str(self.home), "PREFECT_API_URL": self.server}
        if kills:
            (folder / "kills.json").write_text(json.dumps([asdict(kill) for kill in kills]))
            path = [str(ROOT / "tests/integration/killing"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
            environment |= {"KILLS": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, path))}
        command = [sys.executable, "-m", "vidclf", "run", "retrain/demo", "--config", settings_file(folder, given)]
        return Run(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ),
            folder,
        )

    def champion(self, name: str) -> None:
        """Make the model that learned nothing the champion of ``name``; it was trained on the first snapshot."""
        registry.register("models:/first/1", name, [promotion.CHAMPION])

    def aliases(self, name: str) -> dict[str, int]:
        return {alias: one.version for alias, one in promotion.by_alias(name).items()}

    def decisions(self, name: str) -> list[dict[str, Any]]:
        found = (self.home / "store/retrainings" / name).glob("*/decision.json")
        return [json.loads(path.read_text()) for path in found]

    def done(self, name: str) -> list[str]:
        found = (self.home / "store/retrainings" / name).glob("*/done.json")
        return [json.loads(path.read_text())["outcome"] for path in found]

    def work(self) -> dict[str, float]:
        """What was trained and asked, and when."""
        models = self.home / "store/models"
        found = [*models.glob("*/model.json"), *models.glob("*/evaluations/*/predictions.parquet")]
        return {str(path): path.stat().st_mtime for path in found}

    def tracked(self, name: str) -> list[Any]:
        """MLflow's runs of decisions on a model."""
        client = tracking.client()
        experiment = client.get_experiment_by_name("retrained")
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        return [run for run in runs if run.data.tags["vidclf.work"].startswith(f"retrain-{name}-")]


@dataclass(frozen=True)
class Run:
    """One that was started."""

    process: subprocess.Popen[str]
    folder: Path

    def end(self, status: int = 0) -> tuple[str, str]:
        """Its stdout in one line, and its stderr."""
        try:
            out, said = self.process.communicate(timeout=600)
        finally:
            self.process.kill()
        assert self.process.returncode == status, said[-3000:]
        kills = self.folder / "kills.json"
        if kills.exists():
            assert len(list(self.folder.glob("*.killed"))) == len(json.loads(kills.read_text())), said[-3000:]
        return " ".join(out.split()), said


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("retrained")
        patch.setenv("VIDCLF_HOME", str(folder / "server"))
        patch.setenv("PREFECT_HOME", "set by the next line")
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        with prefect_server() as server:
            home = folder / "home"
            snapshotted(home, {"train": 8, "val": 1, "test": 10}, failed=2)
            yield World(home, server, *two_snapshots(home))
            assert not left_behind(home)


@pytest.fixture(autouse=True)
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCLF_HOME", str(world.home))


def two_snapshots(home: Path) -> tuple[str, str]:
    """The dataset as it once was, with half of the training clips; and as it is now."""
    store = dataset_store(str(home / "store"), DATASET)
    latest = json.loads((Path(store.root) / "latest.json").read_text())["snapshot_id"]
    rows = store.read_table(f"snapshots/{latest}/clips.parquet").to_pylist()
    classes, made_by = (store.read_json(f"snapshots/{latest}/{name}.json") for name in ("classes", "made_by"))
    late = [row for row in rows if row["split"] == "train" and int(row["clip_id"].rsplit("-", 1)[1]) >= 4]
    now = [{**row, "split": "test"} if row["clip_id"] in MOVED else row for row in rows]
    schema = store.read_table(f"snapshots/{latest}/clips.parquet").schema
    found = []
    for listed in ([row for row in rows if row not in late], now):
        snapshot = write_snapshot(store, pa.Table.from_pylist(listed, schema=schema), classes, made_by)
        point_latest_at(store, snapshot, "test")
        found.append(snapshot.snapshot_id)
    return found[0], found[1]


@pytest.fixture(scope="module")
def told(world: World) -> list[dict[str, Any]]:
    """What came of nine retrainings, one after the other."""
    steps: list[tuple[str, Any]] = [
        ("first", settings_of("first", BAD, world.first)),
        ("first", settings_of("first", GOOD, "latest")),
        ("first", settings_of("first", GOOD, "latest")),
        ("first", settings_of("first", BAD, world.first, force=True)),
        ("better", "register"),
        ("better", settings_of("better", GOOD, world.second)),
        ("better", "rollback"),
        ("better", settings_of("better", GOOD, world.second)),
        ("better", settings_of("better", GOOD, world.second, force=True)),
        ("better", settings_of("better", GOOD, world.second, force=True, margin=2.0)),
        ("changing", "register"),
        ("changing", settings_of("changing", GOOD, world.second)),
    ]
    environment = {**os.environ, "VIDCLF_HOME": str(world.home), "PREFECT_API_URL": world.server}
    command = [sys.executable, "-c", SCRIPT, json.dumps(steps)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_a_first_run_makes_a_champion_only_of_a_model_that_is_better_than_guessing(told: list[dict[str, Any]]) -> None:
    guessing, good = told[:2]
    assert (guessing["outcome"], guessing["aliases"]) == ("kept", {"challenger": 1})
    assert guessing["sentence"].startswith("There is no champion, but the challenger gets 50.0%")
    assert (good["outcome"], good["aliases"]) == ("promoted", {"champion": 2, "challenger": 2})
    assert good["sentence"].startswith("There was no champion, and the challenger gets 100.0%")


def test_without_news_nothing_is_done(told: list[dict[str, Any]]) -> None:
    assert (told[2]["outcome"], told[2]["aliases"]) == ("nothing to do", {"champion": 2, "challenger": 2})
    assert told[2]["sentence"].startswith("No challenger is due: 0 of 14 training clips are new")


def test_with_a_worse_challenger_the_champion_stays(told: list[dict[str, Any]]) -> None:
    assert (told[3]["outcome"], told[3]["aliases"]) == ("kept", {"champion": 2, "challenger": 1})
    assert told[3]["sentence"].startswith("The challenger is not better by 1 points: -50.0 points on 20 videos")


def test_a_better_challenger_takes_the_place_and_everything_about_it_is_written_down(
    world: World, told: list[dict[str, Any]]
) -> None:
    assert (told[4]["outcome"], told[4]["aliases"]) == ("promoted", {"champion": 2, "challenger": 2, "previous": 1})
    assert told[4]["sentence"].startswith("The challenger is better: +50.0 points on 20 videos (10 that the challenger")
    decision = next(one for one in world.decisions("better") if one["promote"])
    figures = {name: decision["figures"][name] for name in ("annotated", "judged", "learned", "unanswered")}
    assert figures == {"annotated": 24, "judged": 20, "learned": 2, "unanswered": 2}
    assert decision["figures"]["p"] == pytest.approx(1 / 1024)
    assert decision["trained_because"] == "8 of 14 training clips are new"
    run = next(run for run in world.tracked("better") if run.data.tags["decision_id"] == decision["decision_id"])
    assert (run.info.status, run.data.tags["outcome"]) == ("FINISHED", "promoted")
    assert run.data.metrics["difference_points"] == pytest.approx(50.0)
    logged = {one.path for one in tracking.client().list_artifacts(run.info.run_id)}
    assert {"decision.json", "decision.md", "report.html"} <= logged


def test_what_was_rolled_back_stays_back(told: list[dict[str, Any]]) -> None:
    by_itself, forced, decided_anew = told[5:8]
    assert by_itself["sentence"].startswith("No challenger is due: 0 of 14")
    assert forced["sentence"].startswith("It was decided on ")
    assert decided_anew["sentence"].startswith("The challenger was rolled back on ")
    assert [one["outcome"] for one in told[5:8]] == ["nothing to do", "nothing to do", "kept"]
    assert all(one["aliases"] == {"champion": 1, "challenger": 2} for one in told[5:8])


def test_a_champion_that_changed_meanwhile_is_judged_against_in_its_turn(
    world: World, told: list[dict[str, Any]]
) -> None:
    assert told[8]["overtaken"]
    assert (told[8]["outcome"], told[8]["aliases"]) == ("promoted", {"champion": 2, "challenger": 2})
    assert told[8]["sentence"].startswith("There was no champion, and the challenger gets 100.0%")
    assert sorted(world.done("changing")) == ["overtaken", "promoted"]


KILLS = {
    "before the decision is written": Kill("link", "*/decision.json", "before", "driver"),
    "when it is written and no alias has moved": Kill("link", "*/decision.json", "after", "driver"),
    "when the aliases have moved and it is not closed": Kill("replace", "*/done.json", "before", "driver"),
}


@pytest.mark.parametrize("point", KILLS)
def test_a_retraining_that_is_killed_ends_as_one_that_was_left_alone_when_it_is_started_again(
    point: str, world: World, told: list[dict[str, Any]]
) -> None:
    name = f"killed-{list(KILLS).index(point)}"
    world.champion(name)
    world.start(name, GOOD, world.second, KILLS[point]).end(status=-signal.SIGKILL)
    assert world.aliases(name)["champion"] in (1, 2)
    before = world.work()
    world.start(name, GOOD, world.second).end()
    assert world.work() == before, "something was trained or asked again"
    assert world.aliases(name) == {"champion": 2, "challenger": 2, "previous": 1}
    assert world.done(name) == ["promoted"]
    assert len(world.decisions(name)) == 1
    assert [run.info.status for run in world.tracked(name)] == ["FINISHED"]


def test_of_two_at_once_one_decides_and_the_other_waits_for_it_by_name(
    world: World, told: list[dict[str, Any]]
) -> None:
    world.champion("both")
    training = {**GOOD, "seed": 1}  # not done yet: it takes longer than the other needs to come to the lease
    runs = [world.start("both", training, world.second) for _ in range(2)]
    said = [run.end() for run in runs]
    (winner,) = (number for number in (0, 1) if "both: promoted." in said[number][0])
    assert "both: nothing to do. No challenger is due: 0 of 14" in said[1 - winner][0]
    assert f"(process {runs[winner].process.pid}) works on" in said[1 - winner][1]
    assert world.aliases("both") == {"champion": 2, "challenger": 2, "previous": 1}
    assert len(world.decisions("both")) == 1


def test_who_does_not_want_to_wait_is_told_who_works_there(world: World, told: list[dict[str, Any]]) -> None:
    world.champion("busy")
    with hold(records.folder(default_store(), "busy"), "another"):
        _, said = world.start("busy", GOOD, world.second, wait_hours=0).end(status=2)
    assert f"vidclf: run another on {os.uname().nodename} (process {os.getpid()}) works on" in said
    assert world.aliases("busy") == {"champion": 1}
