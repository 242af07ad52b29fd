"""Evaluation and comparison over Ray Data, with Prefect's server, Ray and MLflow as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from tasks.evaluate import checkpoint_uri
from tests.evaluated import KINETICS, dataset, loud, question, untrained
from tests.integration.test_pipeline import ROOT, left_behind, settings_file, vidclf
from tests.snapshotted import DATASET
from vidclf import tracking
from vidclf.errors import ConfigError
from vidclf.evaluation.judge import Question, answer, open_blocks, statuses
from vidclf.models import build
from vidclf.models.checkpoint import load
from vidclf.storage import Store

pytestmark = pytest.mark.integration
SCRIPT = """
import json, sys
from tasks import ray_judge
from tasks.cluster import cluster
from vidclf.config import JudgingConfig
from tasks.evaluate import checkpoint_uri
from vidclf import tracking
from vidclf.errors import ConfigError
from vidclf.evaluation.judge import Question

questions, judging = json.loads(sys.argv[1])
settled = []
with cluster():
    ray_judge.ask([Question(**one) for one in questions], JudgingConfig(**judging), lambda *block: settled.append(block[1:]))
print(json.dumps(settled))
"""


def ask(home: Path, questions: list[Question], judging: dict[str, Any], **environment: str) -> list[list[int]]:
    """Ask over a Ray cluster of its own; what was told of every block: clips, of them failed."""
    command = [sys.executable, "-c", SCRIPT, json.dumps([[vars(one) for one in questions], judging])]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "VIDCLF_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not left_behind(home)
    told: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return told


def predictions(asked: Question) -> pa.Table:
    table = pq.read_table(f"{asked.model_uri}/{asked.predictions_path}")
    return table.sort_by([("clip_id", "ascending"), ("view", "ascending")])


def scores(table: pa.Table) -> np.ndarray:
    return np.array(table["probabilities"].to_pylist())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with twelve videos to judge on, two more that failed, and two models."""
    folder = tmp_path_factory.mktemp("judged")
    dataset(folder, {"train": 2, "val": 1, "test": 6}, failed=2)
    for model in ("cnn_lstm", "frame_cnn"):
        untrained(folder, model)
    return folder


@pytest.mark.slow
def test_actors_blocks_and_batches_change_no_label_and_no_score(home: Path) -> None:
    asked = [
        question(home, str(home / "store/models" / name), num_spatial_crops=3) for name in ("cnn_lstm", "frame_cnn")
    ]
    in_this_process = []
    for one in asked:
        answer(one)
        in_this_process.append(predictions(one))
        Path(one.model_uri, one.predictions_path).unlink()
    told = ask(home, asked, {"num_actors": 2, "block_size": 5, "batch_views": 4})
    assert sorted(told) == sorted([[5, 0], [5, 0], [2, 0]] * 2)
    for one, expected in zip(asked, in_this_process, strict=True):
        found = predictions(one)
        assert found.drop_columns(["probabilities", "seconds"]) == expected.drop_columns(["probabilities", "seconds"])
        np.testing.assert_allclose(scores(found), scores(expected), atol=1e-5)
        assert (scores(found).argmax(axis=1) == scores(expected).argmax(axis=1)).all()
        assert open_blocks(one) == []


def test_an_actor_that_dies_on_a_clip_costs_that_clip_and_not_the_run(home: Path, tmp_path: Path) -> None:
    asked = question(home, str(home / "store/models/cnn_lstm"), num_ensemble_views=1)
    deadly, log = "test-light-2", tmp_path / "deaths"
    path = os.pathsep.join(filter(None, [str(ROOT / "tests/integration/crashing"), os.environ.get("PYTHONPATH", "")]))
    told = ask(home, [asked], {"block_size": 4}, PYTHONPATH=path, CRASH_ON=deadly, CRASH_LOG=str(log))
    found = statuses(asked)
    assert len(found) == 12
    assert {clip_id: status for clip_id, status in found.items() if status != "ok"} == {deadly: "crashed"}
    assert Counter(log.read_text().split()) == {deadly: 3}  # in four, in two, alone
    assert np.sum(told, axis=0).tolist() == [12, 1]
    (row,) = (row for row in predictions(asked).to_pylist() if row["clip_id"] == deadly)
    assert "the process that worked on it died" in row["message"]


@pytest.fixture(scope="module")
def compared(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two trainings of one epoch and a model that is there, side by side."""
    training = {"data": {"num_frames": 4, "crop_size": 32}, "optim": {"epochs": 1, "batch_size": 2, "dropout": 0.0}}
    approaches = {
        **dict.fromkeys(("cnn_rnn", "frames_averaged", "x3d_xs")),  # the deployment's own are left out
        "trained": {"model": "cnn_lstm", **training},
        "given": {"uri": str(home / "store/models/frame_cnn")},
    }
    settings = {
        "dataset": DATASET, "experiment": "tried", "approaches": approaches, "num_spatial_crops": 3,
        "opposites": ["dark", "light"], "num_ensemble_views": 2, "split": "test",
    }  # fmt: skip
    content = settings_file(tmp_path_factory.mktemp("compare"), settings)
    done = vidclf(home, "run", "compare/kinetics-dancing", "--config", content)
    return {"home": home, "stdout": done.stdout}


@pytest.mark.slow
def test_trained_and_given_models_are_laid_side_by_side(compared: dict[str, Any]) -> None:
    said = " ".join(compared["stdout"].split())
    assert "split test: 12 videos, 2 more are missing; 2 × 3 = 6 views each" in said
    assert "McNemar's mid-p" in said


@pytest.mark.slow
def test_a_published_model_is_judged_on_kinetics_without_training(tmp_path: Path) -> None:
    dataset(tmp_path, {"test": 4}, KINETICS, failed=1)
    torch.manual_seed(0)
    weights = tmp_path / "weights" / "X3D_XS.pyth"
    weights.parent.mkdir()
    torch.save({"model_state": loud(build("x3d_xs", 400)).state_dict()}, weights)
    settings = [
        f"dataset={DATASET}", "model=x3d_xs", f"weights={weights}", "split=test", "num_ensemble_views=2",
        "data={reader: frames, num_frames: 4, side_size: 32, crop_size: 32}", "judging.memory_gb=0.5",
    ]  # fmt: skip
    given = [part for setting in settings for part in ("--set", setting)]
    said = " ".join(vidclf(tmp_path, "run", "evaluate/kinetics-i3d", *given).stdout.split())
    assert "video top-5" in said
    assert "2 of 9 annotated videos could not be scored: 1 gone, 1 unknown_class." in said
    assert "moonwalking (1)" in said
    (folder,) = (tmp_path / "store/models").glob("*/evaluations/*")
    names = {"predictions.parquet", "answers.parquet", "answers.csv", "evaluation.json", "report.html", "gallery.html"}
    assert {path.name for path in folder.iterdir()} == names
    table = pyarrow.csv.read_csv(folder / "answers.csv")
    ranks = range(1, 6)
    assert table.column_names == [
        "id",
        "truth",
        "status",
        *(f"pred_{k}" for k in ranks),
        *(f"score_{k}" for k in ranks),
    ]
    assert len(table) == 9
    numbers = json.loads((folder / "evaluation.json").read_text())
    assert numbers["coverage"]["unknown_classes"] == {"moonwalking": 1}
    assert len(pq.read_table(folder / "predictions.parquet")) == 7 * 6


@pytest.mark.filterwarnings("default")  # MLflow, in this process, has some of its own
def test_a_model_in_mlflow_is_asked_from_a_copy_in_the_store(tmp_path: Path) -> None:
    snapshot = dataset(tmp_path, {"test": 1})
    checkpoint, store = untrained(tmp_path), str(tmp_path / "store")
    run_id = tracking.open_run("tried", "work", {}, snapshot, DATASET, store)
    logged = tracking.log_model(run_id, Store(checkpoint))
    assert logged.startswith("models:/")
    copy = checkpoint_uri(logged, store)
    assert copy.startswith(f"{store}/models/m-")
    assert load(copy)[1] == load(checkpoint)[1]
    assert checkpoint_uri(logged, store) == copy
    with pytest.raises(ConfigError, match="MLflow has no model models:/nobody@champion"):
        checkpoint_uri("models:/nobody@champion", store)
    with pytest.raises(ConfigError, match="is no finished checkpoint"):
        checkpoint_uri(str(tmp_path / "nowhere"), store)


@pytest.mark.slow
def test_what_is_wrong_with_the_model_is_said_and_costs_no_clip(tmp_path: Path) -> None:
    dataset(tmp_path, {"test": 2})
    asked = question(tmp_path, untrained(tmp_path))
    Path(asked.model_uri, "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(AssertionError, match=r"ConfigError: .*does not hold this model's weights"):
        ask(tmp_path, [asked], {})
    assert statuses(asked) == {}
