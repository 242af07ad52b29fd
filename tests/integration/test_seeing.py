"""What people see of a run: one page, a notification of its failure, and its whole history though MLflow died in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployments.services import Ports, servers
from tests.evaluated import untrained
from tests.integration.test_pipeline import ROOT, settings_file
from tests.integration.test_training import processes_of
from tests.mailbox import Mailbox, open_mailbox
from tests.snapshotted import DATASET, snapshotted
from vidclf import tracking
from vidclf.models.checkpoint import CARD
from vidclf.tracking import registry

pytestmark = pytest.mark.integration

EPOCHS = 12
SETTINGS: dict[str, Any] = {
    "dataset": DATASET,
    "model": "cnn_lstm",
    "experiment": "tries",
    "data": {"num_frames": 2, "sampling_rate": 1, "side_size": 32, "crop_size": 32},
    "optim": {"epochs": EPOCHS, "batch_size": 2, "dropout": 0.0, "freeze": 5},
    "cpus_per_worker": 1,
}


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with open_mailbox() as box:
        yield box


class MLflow:
    """The stack's MLflow server, alone."""

    def __init__(self, home: Path):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (service,) = (one for one in servers(self._home, Ports(mlflow=self._port), "") if one.name == "mlflow")
        environment = {**service.environment, "VIDCLF_HOME": ""}  # not one of those that a run must not leave behind
        with (self._home / "mlflow.log").open("ab") as log:
            self._process = subprocess.Popen(
                service.command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        while not service.is_healthy():
            assert self._process.poll() is None, (self._home / "mlflow.log").read_text()

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def kill_after_the_first_epoch(self) -> None:
        with closing(sqlite3.connect(self._home / "mlflow.db", timeout=30)) as database:
            while not database.execute("SELECT 1 FROM metrics WHERE key = 'val_loss' AND step >= 1").fetchall():
                time.sleep(0.1)
        self.kill()


@pytest.fixture
def home(own_home: Path) -> Path:
    snapshotted(own_home, {"train": 4, "val": 1})
    return own_home


@pytest.fixture
def mlflow(home: Path) -> Iterator[MLflow]:
    server = MLflow(home)
    yield server
    server.kill()


def vidclf(home: Path, *arguments: str, status: int) -> str:
    """Run the command line, wait until Ray's own have noticed that it is over, and give what it said on stderr."""
    command = [sys.executable, "-m", "vidclf", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == status, done.stderr[-3000:]
    _, alive = psutil.wait_procs(processes_of(home), timeout=120)
    assert not alive
    return done.stderr


@pytest.mark.filterwarnings("default")  # MLflow, in this process, has some of its own
def test_a_model_that_was_registered_on_the_stacks_server_is_found_with_and_without_it(
    home: Path, mlflow: MLflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.uri)
    registry.register(untrained(home, "frame_cnn"), "dancing", ["champion"])
    for uri in (mlflow.uri, None):
        if uri is None:
            monkeypatch.delenv("MLFLOW_TRACKING_URI")
            mlflow.kill()
        assert (registry.local_checkpoint("models:/dancing@champion") / CARD).is_file()
        shutil.rmtree(home / "registry")  # the copy that was made


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # MLflow, in this process, has some of its own
def test_a_training_whose_mlflow_dies_is_told_of_and_goes_on_to_its_whole_history(
    home: Path, mlflow: MLflow, mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # nobody starts it anew here
    monkeypatch.setenv("VIDCLF_NOTIFY_URL", f"json://127.0.0.1:{mailbox.server_port}/a-secret-path")
    monkeypatch.setenv("SOME_TOKEN", mlflow.uri.removeprefix("http://"))  # a message that repeats it would be a leak
    command = ["run", "train/demo", "--config", settings_file(tmp_path, SETTINGS)]

    refused = vidclf(home, *command, status=1)
    assert refused.splitlines()[-1].startswith(f"vidclf: MLflow at {mlflow.uri} does not answer (Connection ref")
    assert not (home / "store/models").exists()
    assert mailbox.letters == []  # nothing had begun

    mlflow.start()
    killer = threading.Thread(target=mlflow.kill_after_the_first_epoch)
    killer.start()
    failed = vidclf(home, *command, status=1)
    killer.join()
    assert "MLflow" in failed.splitlines()[-1]
    assert list((home / "store/models").glob("*/model.json")) == []
    (letter,) = mailbox.letters
    assert letter["title"] == f"train cnn_lstm on {DATASET}: failed"
    assert "MLflow at http://***: does not answer any more" in letter["message"]
    assert "a-secret-path" not in json.dumps(letter)

    mlflow.start()
    vidclf(home, *command, status=0)
    client = tracking.client()
    experiment = client.get_experiment_by_name("tries")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "val_loss")
    assert {point.step for point in history} == set(range(1, EPOCHS + 1))
    assert run.info.status == "FINISHED"

    page = artifact(home, "run")
    assert f"{mlflow.uri}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}" in page
    assert f"`{home}/store/models/{run.info.run_name}`" in page
    assert f"`{home}/store/datasets/{DATASET}`" in page
    assert artifact(home, f"{DATASET}-train-cnn-lstm")  # its progress


def artifact(home: Path, key: str) -> str:
    """The latest artifact of this key: its Markdown, or its percentage."""
    with closing(sqlite3.connect(home / "prefect/prefect.db")) as database:
        query = "SELECT data FROM artifact WHERE key = ? ORDER BY created DESC LIMIT 1"
        (data,) = database.execute(query, [key]).fetchone()
    return str(json.loads(data) if isinstance(data, str) else data)  # a number is stored as one
