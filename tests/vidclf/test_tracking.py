"""What a training leaves in MLflow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from vidclf.tracking import client
from vidclf.tracking import training as tracked


@pytest.mark.filterwarnings("default")  # MLflow, in this process, has some of its own
def test_the_machines_load_is_logged_while_a_training_runs(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracked, "SYSTEM_SECONDS", 0.1)
    mlflow = client()
    run_id = mlflow.create_run(mlflow.create_experiment("tries")).info.run_id
    deadline = time.monotonic() + 60
    with tracked.TrainingRun(run_id).system_metrics():
        while time.monotonic() < deadline and not mlflow.get_run(run_id).data.metrics:
            pass
    assert any(name.startswith("system/") for name in mlflow.get_run(run_id).data.metrics)
