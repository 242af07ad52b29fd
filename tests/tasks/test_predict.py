"""``vidclf predict --dataset`` over Ray, which is real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks import predict
from tasks.cluster import cluster
from tests.snapshotted import DATASET, snapshotted
from tests.vidclf.conftest import CLASSES
from tests.vidclf.untrained import save_untrained, view_of
from vidclf.data.view import stored_frames
from vidclf.errors import ConfigError
from vidclf.predict.dataset import Part, Said, answer_part

pytestmark = pytest.mark.integration
FATAL = "val-light-0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a dataset of ten clips and two annotations that failed, and a model of its classes."""
    folder = tmp_path_factory.mktemp("made")
    snapshot = snapshotted(folder, {"train": 3, "val": 2}, failed=1)
    save_untrained(folder / "model", view_of(stored_frames(snapshot.made_by, "frames")), CLASSES)
    return folder


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    with cluster():
        yield


def test_every_annotation_of_the_dataset_is_in_the_file(
    made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset, output = made / "store/datasets" / DATASET, tmp_path / "new/said.parquet"
    predict.predict_dataset(str(dataset), str(made / "model"), None, "latest", str(output), 2, 3, "cpu")
    rows = pq.read_table(output).to_pylist()
    assert len(rows) == 12
    assert [row["error_kind"] for row in rows if row["status"] == "failed"] == ["gone", "gone"]
    assert all(sum(row["probabilities"]) == pytest.approx(1) for row in rows if row["status"] == "ok")
    assert "12 annotations, 2 failed (2 gone); 3 views each" in capfd.readouterr().out
    predict.predict_dataset(str(dataset), str(made / "model"), "val", "latest", str(output), 2, 3, None)
    assert {row["annotation_id"]: row["labels"] for row in pq.read_table(output).to_pylist()} == {
        row["annotation_id"]: row["labels"] for row in rows if row["split"] == "val"
    }


def dies_of_one_clip(part: Part) -> list[Said]:
    if any(clip.clip_id == FATAL for clip in part.clips):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer_part(part)


def test_a_clip_that_kills_its_process_costs_itself(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "answer_on_worker", dies_of_one_clip)
    output = tmp_path / "said.parquet"
    dataset = made / "store/datasets" / DATASET
    predict.predict_dataset(str(dataset), str(made / "model"), "val", "latest", str(output), 1, 1, "cpu")
    ends = {row["annotation_id"]: row["error_kind"] for row in pq.read_table(output).to_pylist()}
    assert ends == {
        "val-dark-0": None, "val-dark-1": None, "val-light-1": None, FATAL: "crashed", "val-failed-0": "gone",
    }  # fmt: skip


def test_wrong_requests_are_said_before_anything_is_asked(made: Path, tmp_path: Path) -> None:
    dataset, model = str(made / "store/datasets" / DATASET), str(made / "model")
    output = str(tmp_path / "said.parquet")
    for arguments, message in [
        ((str(tmp_path), model, None, "latest", output), "has no snapshot yet"),
        ((dataset, str(tmp_path), None, "latest", output), "is no finished checkpoint"),
        ((dataset, model, "test", "latest", output), "split 'test' has no annotation"),
        ((dataset, model, None, "latest", str(tmp_path)), "is a folder; the path of a file is wanted"),
    ]:
        with pytest.raises(ConfigError, match=message):
            predict.predict_dataset(*arguments, 1, 1, "cpu")
    with pytest.raises(ConfigError, match="it is cpu or cuda"):
        predict.predict_dataset(dataset, model, None, "latest", output, 1, 1, "cuda:3")


@pytest.mark.slow
def test_the_command_reaches_ray_through_its_entry_point_and_without_prefect(made: Path, tmp_path: Path) -> None:
    """In a process of its own: what it imports can be seen, and Ray ends with it."""
    code = """
import json, sys
from vidclf.cli import main
status = main(json.loads(sys.argv[1]), standalone_mode=False)
assert 'ray' in sys.modules
assert 'prefect' not in sys.modules
sys.exit(status or 0)
"""
    output = tmp_path / "said.parquet"
    arguments = ["predict", "--dataset", str(made / "store/datasets" / DATASET), "--model", str(made / "model")]
    arguments += ["--split", "val", "--output", str(output), "--top-k", "1", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert pq.read_table(output).num_rows == 5
    assert done.stdout.startswith(f"{output}: 5 annotations, 1 failed (1 gone)")
