"""The same job on S3, over HTTP."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_pipeline import ROOT, snapshot_of, vidclf
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store

pytestmark = pytest.mark.integration
STORE = "s3://vidclf-test/some/prefix"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="vidclf-test")
    yield
    server.stop()


@pytest.fixture
def annotations(tmp_path: Path) -> str:
    """A few rows of each class and split, and an awkward one."""
    with (ROOT / "vidclf/generated/dancing.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [
        row
        for split, number in (("train", 24), ("validate", 9))
        for row in [r for r in rows if r["split"] == split][:number]
    ]
    path = tmp_path / "some.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(chosen)
    return str(path)


def test_a_bucket_holds_the_same_snapshot_as_a_folder_and_models_train_from_it(
    bucket: None, annotations: str, own_home: Path
) -> None:
    settings = ["--set", f"annotations.path={annotations}", "--set", "augment.target_per_class=8"]
    settings += ["--set", "publish.min_ok_share=0.5", "--set", "execution.num_shards=2"]
    vidclf(own_home, "run", "ingest/demo", *settings)
    vidclf(own_home, "run", "ingest/demo", *settings, "--set", f"store={STORE}")
    in_folder = snapshot_of(own_home, "dancing-demo")
    in_bucket = read_snapshot(dataset_store(STORE, "dancing-demo"))
    assert in_bucket.snapshot_id == in_folder.snapshot_id
    assert in_bucket.stats["status"]["ok"] > 25

    done = vidclf(own_home, "run", "train/demo", "--set", f"store={STORE}", "--set", "fast_dev_run=true")
    assert f"checkpoint: {STORE}/models/fast-dev-run-cnn_lstm-" in done.stdout
    assert not (own_home / "store" / "models").exists()
    assert Store(STORE).fs.find(f"{STORE}/training")
