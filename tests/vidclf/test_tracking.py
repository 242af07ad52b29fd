"""What a training leaves in MLflow."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.vidclf.tiny_training import VIEW
from vidclf.home import tracking_uri
from vidclf.models.checkpoint import ModelCard
from vidclf.tracking import client, log_text, open_checkpoint_run, pages
from vidclf.tracking import training as tracked


@pytest.mark.thorough
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


@pytest.mark.thorough
@pytest.mark.filterwarnings("default")
def test_artifacts_go_to_the_bucket_that_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", f"{bucket}/mlflow/")
    card = ModelCard(model="x", classes=("a",), view=VIEW, weights="none", snapshot_id="s", train_config={})
    run_id = open_checkpoint_run("tries", "a name", card)
    log_text(run_id, "said", "told.md")
    (found,) = boto3.client("s3").list_objects_v2(Bucket="vidclf-test")["Contents"]
    assert found["Key"] == f"some/prefix/mlflow/tries/{run_id}/artifacts/told.md"
    assert pages(run_id).run == f"{run_id} in {tracking_uri()}"  # no server is named, so there is no address
