"""What `make demo` claims."""

from __future__ import annotations

from pathlib import Path

import pytest

import vidclf as vidclf_library
from flows.catalogue import find_job
from tests.integration.test_pipeline import ROOT, snapshot_of, vidclf
from vidclf.config import CompareConfig, TrainConfig
from vidclf.evaluation.judge import Question
from vidclf.evaluation.metrics import Evaluation, accuracy_between, evaluate, video_predictions
from vidclf.models.checkpoint import read_card
from vidclf.storage import Store
from vidclf.training.work import settle

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]
CHANCE = 0.25


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "home"
    vidclf(folder, "demo", timeout=1500)
    return folder


@pytest.fixture
def questions(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Question]:
    """(approach/order) → what it was asked; its scores are kept."""
    monkeypatch.setenv("VIDCLF_HOME", str(home))
    monkeypatch.chdir(ROOT)
    config = find_job("compare/demo").config
    assert isinstance(config, CompareConfig)
    store, snapshot = str(home / "store"), snapshot_of(home, config.dataset)
    asked = [
        Question(name, settle(training).model_uri, store, config.dataset, snapshot.snapshot_id, config.split,
                 config.num_ensemble_views, config.num_spatial_crops, order, config.seed)
        for name, training in config.trainings().items()
        for order in ("stored", "shuffled")
    ]  # fmt: skip
    return {question.key: question for question in asked}


def judged(question: Question) -> Evaluation:
    return evaluate(
        Store(question.model_uri).read_table(question.predictions_path), read_card(question.model_uri).classes
    )


def test_the_manifest_accounts_for_every_annotation(home: Path) -> None:
    stats = snapshot_of(home, "dancing-demo").stats
    assert (stats["annotations"], stats["status"]) == (396, {"failed": 8, "ok": 388})
    assert stats["errors"] == {"gone": 6, "no_video": 1, "unreadable": 1}


@pytest.mark.parametrize("approach", ["cnn_lstm", "x3d_xs"])
def test_video_models_learn_the_dances(questions: dict[str, Question], approach: str) -> None:
    result = judged(questions[f"{approach}/stored"])
    assert result.videos >= 100
    assert result.video_top1.value >= 0.9


def test_a_model_of_single_frames_can_only_guess(questions: dict[str, Question]) -> None:
    top1 = judged(questions["frame_cnn/stored"]).video_top1
    assert top1.low <= CHANCE <= top1.high or abs(top1.value - CHANCE) <= 0.10


@pytest.mark.parametrize("approach", ["cnn_lstm", "x3d_xs"])
def test_without_the_order_of_frames_opposite_directions_look_alike(
    questions: dict[str, Question], approach: str
) -> None:
    between = {}
    for order in ("stored", "shuffled"):
        question = questions[f"{approach}/{order}"]
        scores = Store(question.model_uri).read_table(question.predictions_path)
        classes = read_card(question.model_uri).classes
        between[order] = accuracy_between(video_predictions(scores), classes, "belly dancing", "swing dancing")
    assert between["stored"].value >= 0.9
    assert between["shuffled"].low <= 0.5 <= between["shuffled"].high


def test_attention_over_frames_learns_the_dances_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCLF_HOME", str(home))
    monkeypatch.chdir(ROOT)
    like = find_job("train/demo").config
    assert isinstance(like, TrainConfig)
    classifier = vidclf_library.finetune(
        home / "store/datasets/dancing-demo", model="cnn_attention", epochs=6, test_split="test",
        data=like.data.model_dump(), optim={"batch_size": 8, "learning_rate": 0.001, "dropout": 0.0},
    )  # fmt: skip
    assert classifier.results["test_videos"] >= 100
    assert classifier.results["test_top1"] >= 0.9
