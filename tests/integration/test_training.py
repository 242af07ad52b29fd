"""Training on Ray Train with real workers: one or two, and they die."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.integration.test_killed import Kill
from tests.integration.test_pipeline import ROOT
from tests.snapshotted import DATASET, snapshotted
from vidclf import tracking
from vidclf.config import TrainConfig
from vidclf.models import checkpoint
from vidclf.training.run import run_training
from vidclf.training.work import settle

pytestmark = pytest.mark.integration
#: Eight training clips in batches of two: four steps an epoch. The backbone, and so its statistics, are frozen.
SETTINGS: dict[str, Any] = {
    "dataset": DATASET,
    "model": "cnn_lstm",
    "data": {"num_frames": 2, "crop_size": 32},
    "optim": {"epochs": 2, "batch_size": 2, "dropout": 0.0, "freeze": 5},
    "checkpoint_steps": 1,
}
SCRIPT = """
import json, sys
from tasks import ray_train
from tasks.cluster import cluster
from tasks.progress import relayed
from vidclf import tracking
from vidclf.config import TrainConfig
from vidclf.errors import ConfigError
from vidclf.home import silence_libraries
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.training.claim import claimed
from vidclf.training.work import settle

silence_libraries()
config = TrainConfig(**json.loads(sys.argv[1]))
work = settle(config)
with claimed(work), cluster(), relayed() as report:
    snapshot = read_snapshot(dataset_store(work.store, config.dataset), work.snapshot_id)
    run_id = tracking.open_run("tries", work.name, {}, snapshot, config.dataset, work.store)
    ray_train.fit(work, run_id, report)
    try:
        ray_train.scaling_of(config.model_copy(update={"num_workers": 64, "cpus_per_worker": None}))
    except ConfigError as error:
        print(error)
    tracking.finish(run_id)
"""


def fit(home: Path, settings: dict[str, Any], *kills: Kill, status: int = 0) -> str:
    """Train on a Ray cluster of its own, with every one of the kills; what was printed."""
    environment = {**os.environ, "VIDCLF_HOME": str(home)}
    if kills:
        (home / "kills").mkdir()
        (home / "kills/kills.json").write_text(json.dumps([asdict(kill) for kill in kills]))
        path = [str(ROOT / "tests/integration/killing"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment |= {"KILLS": str(home / "kills"), "PYTHONPATH": os.pathsep.join(filter(None, path))}
    command = [sys.executable, "-c", SCRIPT, json.dumps(settings)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == status, done.stderr[-3000:]
    assert len(list((home / "kills").glob("*.killed") if kills else ())) == len(kills)
    if not status:  # Ray's own take a moment to notice that it is over
        _, alive = psutil.wait_procs(processes_of(home), timeout=120)
        assert not alive
    return done.stdout


def processes_of(home: Path) -> list[psutil.Process]:
    """Those that carry this home in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("VIDCLF_HOME") == str(home):
                found.append(process)
    return found


def weights(home: Path, settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    work = settle(TrainConfig(**settings, store=str(home / "store")))
    return checkpoint.load(work.model_uri)[0].state_dict()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of one training in this process, with one thread."""
    folder = tmp_path_factory.mktemp("undisturbed")
    snapshotted(folder, {"train": 4, "val": 1})
    work = settle(TrainConfig(**SETTINGS, store=str(folder / "store")))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run_training(work)
    torch.set_num_threads(threads)
    return checkpoint.load(work.model_uri)[0].state_dict()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    snapshotted(folder, {"train": 4, "val": 1})
    monkeypatch.setenv("VIDCLF_HOME", str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # MLflow, in this process, has some of its own
def test_a_training_whose_worker_dies_in_mid_epoch_ends_with_the_weights_of_one_left_alone(
    home: Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    settings = {**SETTINGS, "cpus_per_worker": 1}
    said = fit(home, settings, Kill("replace", "*/step-000000006/state.json", when="after"))
    assert re.search(r"^num_workers is 64, 1 CPUs each, and the cluster has \d+$", said, re.MULTILINE)
    assert_same(weights(home, settings), undisturbed)
    client = tracking.client()
    experiment = client.get_experiment_by_name("tries")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val_loss")] == [1, 2]
    assert {"curves.png", "seen_in_training.png"} <= {one.path for one in client.list_artifacts(run.info.run_id)}


@pytest.mark.slow
def test_a_training_killed_as_a_whole_and_started_again_ends_with_the_weights_of_one_left_alone(
    home: Path, undisturbed: dict[str, torch.Tensor]
) -> None:
    settings = {**SETTINGS, "cpus_per_worker": 1}
    fit(home, settings, Kill("replace", "*/step-000000003/state.json", when="after", victim="driver"), status=-9)
    fit(home, settings)
    assert_same(weights(home, settings), undisturbed)


@pytest.mark.slow
def test_two_ray_workers_end_with_the_weights_of_one(home: Path, undisturbed: dict[str, torch.Tensor]) -> None:
    settings = {**SETTINGS, "cpus_per_worker": 1, "num_workers": 2}
    fit(home, settings)
    torch.testing.assert_close(weights(home, settings), undisturbed, rtol=1e-4, atol=1e-5)


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    for name, tensor in second.items():
        assert torch.equal(first[name], tensor), name
