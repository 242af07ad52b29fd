"""The same job on S3, over HTTP."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.integration.test_pipeline import ROOT, snapshot_of, vidclf
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store

pytestmark = pytest.mark.integration


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


@pytest.mark.slow
def test_a_bucket_holds_the_same_snapshot_as_a_folder_and_models_train_from_it(
    bucket: str, annotations: str, own_home: Path
) -> None:
    settings = ["--set", f"annotations.path={annotations}", "--set", "augment.target_per_class=8"]
    settings += ["--set", "publish.min_ok_share=0.5", "--set", "execution.num_shards=2"]
    vidclf(own_home, "run", "ingest/demo", *settings)
    vidclf(own_home, "run", "ingest/demo", *settings, "--set", f"store={bucket}")
    in_folder = snapshot_of(own_home, "dancing-demo")
    in_bucket = read_snapshot(dataset_store(bucket, "dancing-demo"))
    assert in_bucket.snapshot_id == in_folder.snapshot_id
    assert in_bucket.stats["status"]["ok"] > 25

    done = vidclf(own_home, "run", "train/demo", "--set", f"store={bucket}", "--set", "fast_dev_run=true")
    assert f"checkpoint: {bucket}/models/fast-dev-run-cnn_lstm-" in done.stdout
    assert not (own_home / "store" / "models").exists()
    assert Store(bucket).fs.find(f"{bucket}/training")


def test_nothing_of_a_run_on_a_bucket_stays_on_the_local_disk(
    bucket: str, annotations: str, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    settings = ["--set", f"annotations.path={annotations}", "--set", "annotations.limit=8", "--set", "augment=null"]
    vidclf(own_home, "run", "ingest/demo", *settings, "--set", "publish.min_ok_share=0.5", "--set", f"store={bucket}")
    assert not (own_home / "store").exists()
    assert not [path for path in scratch.rglob("*") if path.is_file()]


def look_at_keys_after(requests: float) -> None:
    """The server, as all servers of this process, lets everybody in for so many requests."""
    from moto import settings
    from moto.core.responses import ActionAuthenticatorMixin

    settings.INITIAL_NO_AUTH_ACTION_COUNT = requests
    ActionAuthenticatorMixin.request_count = 0


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
@pytest.mark.parametrize("fault", ["dead endpoint", "wrong key", "no bucket"])
def test_a_bucket_that_cannot_be_used_is_one_line_within_seconds(
    fault: str, dry_run: list[str], bucket: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bucket
    if fault == "dead endpoint":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    elif fault == "wrong key":  # from now on the server looks at keys
        look_at_keys_after(0)
    else:
        store = "s3://not-there-at-all/prefix"
    if dry_run and fault == "no bucket":
        return  # nothing is there yet, which a dry run cannot tell from an empty store
    said = vidclf(own_home, "run", "ingest/demo", *dry_run, "--set", f"store={store}", status=2, timeout=30).stderr
    look_at_keys_after(float("inf"))
    (line,) = said.strip().splitlines()
    assert line.startswith("vidclf: the store cannot be used: ")
    assert store in line
