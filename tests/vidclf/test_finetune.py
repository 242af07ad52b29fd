"""``vidclf.finetune``: from a folder of videos to a classifier, in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import mlflow
import numpy as np
import pytest
import torch

import vidclf
from vidclf import tracking
from vidclf.config import TrainConfig
from vidclf.errors import AnnotationError, ConfigError, VidclfError
from vidclf.home import default_store
from vidclf.lease import LeaseHeld
from vidclf.models import checkpoint
from vidclf.models.checkpoint import read_card
from vidclf.predict import Classifier
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store
from vidclf.training.claim import claimed
from vidclf.training.work import settle

SMALL: dict[str, Any] = {
    "model": "frame_cnn",
    "data": {"num_frames": 2, "crop_size": 32},
    "learning_rate": 0.003,
    "batch_size": 4,
}


def draw(path: Path, brightness: int, frames: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(frames):
            picture = np.full((48, 64, 3), brightness + index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "my videos"
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            draw(folder / split / "dark" / f"{number}.mp4", 20 + 5 * number)
            draw(folder / split / "light" / f"{number}.mp4", 200 + 5 * number)
    return folder


@pytest.fixture
def videos(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "my videos"))


@pytest.fixture
def lines() -> list[str]:
    return []


Told = Callable[[str], None]


@pytest.mark.thorough
def test_a_folder_of_videos_becomes_a_classifier(videos: Path, lines: list[str]) -> None:
    (videos / "train" / "dark" / "broken.mp4").write_bytes(b"no video")
    classifier = vidclf.finetune(videos, epochs=6, told=lines.append, **SMALL)
    assert isinstance(classifier, Classifier)
    assert classifier.classes == ["dark", "light"]
    assert classifier.results["epoch"] == 6
    assert classifier.results["val_videos"] == 4
    draw(videos / "new.mp4", 225)
    assert classifier.predict([videos / "new.mp4"])[0].label == "light"
    assert any("12 ok, 1 failed" in line or "1 failed, 12 ok" in line for line in lines)
    assert lines[-2].startswith("epoch 6 of 6: loss ")
    assert not list(Path(default_store()).glob("datasets/*/sources/*"))  # no copies of what the folder has


@pytest.mark.thorough
def test_the_same_call_again_does_nothing_again(videos: Path, lines: list[str]) -> None:
    first = vidclf.finetune(videos, epochs=2, told=lines.append, **SMALL)
    lines.clear()
    again = vidclf.finetune(videos, epochs=2, told=lines.append, **SMALL)
    assert again.results == first.results
    assert len(lines) == 2
    assert "is finished already, nothing is done again" in lines[1]


@pytest.mark.thorough
def test_a_snapshot_is_trained_on_directly(videos: Path, lines: list[str]) -> None:
    vidclf.finetune(videos, fast_dev_run=True, told=lines.append, **SMALL)
    (dataset,) = (Path(default_store()) / "datasets").iterdir()
    (snapshot,) = (dataset / "snapshots").iterdir()
    lines.clear()
    classifier = vidclf.finetune(snapshot, epochs=1, told=lines.append, test_split="val", **SMALL)
    assert classifier.card.snapshot_id == snapshot.name
    assert classifier.results["test_top1"] == classifier.results["val_top1"]
    assert [line.split(":")[0] for line in lines] == ["epoch 1 of 1", "checkpoint"]


@pytest.mark.thorough
def test_a_fast_dev_run_is_no_finished_training(videos: Path, lines: list[str]) -> None:
    for _ in range(2):
        classifier = vidclf.finetune(videos, epochs=50, fast_dev_run=True, told=lines.append, **SMALL)
    assert classifier.results["epoch"] == 1
    assert not any("finished already" in line for line in lines)


@pytest.mark.thorough
def test_classes_without_splits_are_divided(drawn: Path, tmp_path: Path, lines: list[str]) -> None:
    for name in ("dark", "light"):
        for number in range(4):
            path = tmp_path / "plain" / name / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(drawn / "train" / name / f"{number}.mp4", path)
    classifier = vidclf.finetune(tmp_path / "plain", epochs=1, told=lines.append, **SMALL)
    assert classifier.results["val_videos"] == 2


@pytest.mark.thorough
def test_the_best_and_the_last_epoch_are_both_kept(videos: Path, lines: list[str]) -> None:
    best = {"keep": "best", "monitor": "val_loss", "learning_rate": 0.5, "optimizer": "sgd", "momentum": 0.0}
    settings = {name: value for name, value in SMALL.items() if name != "learning_rate"}
    classifier = vidclf.finetune(videos, epochs=3, optim=best, told=lines.append, **settings)
    uri = lines[-1].removeprefix("checkpoint: ")
    of_last, of_best = read_card(f"{uri}/last").results, read_card(f"{uri}/best").results
    assert of_last["epoch"] == 3
    assert classifier.results["epoch"] == of_best["epoch"] == classifier.results["best_epoch"]
    model, _ = checkpoint.load(f"{uri}/best")
    published, _ = checkpoint.load(uri)
    assert all((a == b).all() for a, b in zip(model.parameters(), published.parameters(), strict=True))


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of its libraries
def test_a_training_can_be_tracked(videos: Path, lines: list[str]) -> None:
    vidclf.finetune(videos, epochs=2, experiment="tries", told=lines.append, **SMALL)
    client = tracking.client()
    experiment = client.get_experiment_by_name("tries")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["optim.epochs"] == "2"
    assert run.data.tags["code_version"] == vidclf.__version__
    assert run.data.tags["snapshot_id"] == run.inputs.dataset_inputs[0].dataset.digest
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val_top1")] == [1, 2]
    wanted = {"train_loss", "train_top1", "val_loss", "clips_per_second", "data_share", "learning_rate/all"}
    assert wanted <= run.data.metrics.keys()
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert {"curves.png", "seen_in_training.png", "classes.json"} <= artifacts
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    video = str(videos / "val" / "light" / "0.mp4")
    assert model.predict([video])[0].keys() == {"path", "label", "score"}

    version = mlflow.register_model(f"runs:/{run.info.run_id}/model", "brightness").version
    client.set_registered_model_alias("brightness", "champion", version)
    settings = SMALL | {"weights": "models:/brightness@champion", "optim": {"freeze": "backbone"}}
    further = vidclf.finetune(videos, epochs=1, told=lines.append, **settings)
    assert further.card.weights.startswith("models:/m-")
    of_first = checkpoint.load(next(line for line in lines if "checkpoint: " in line).removeprefix("checkpoint: "))[0]
    of_further = checkpoint.load(lines[-1].removeprefix("checkpoint: "))[0]
    before, after = of_first.state_dict(), of_further.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["head.weight", "head.bias"]
    with pytest.raises(ConfigError, match="MLflow has no model models:/nothing@champion"):
        vidclf.finetune(videos, told=lines.append, **(SMALL | {"weights": "models:/nothing@champion"}))


@pytest.mark.thorough
def test_two_who_start_the_same_are_told(videos: Path, lines: list[str]) -> None:
    vidclf.finetune(videos, epochs=1, fast_dev_run=True, told=lines.append, **SMALL)
    (dataset,) = (Path(default_store()) / "datasets").iterdir()
    optim = {"epochs": 1, "batch_size": 4, "learning_rate": 0.003}
    same = TrainConfig(dataset=dataset.name, model="frame_cnn", data=SMALL["data"], optim=optim)
    with claimed(settle(same)), pytest.raises(LeaseHeld, match=r"run .* on .* \(process \d+\) works on .*/training/"):
        vidclf.finetune(videos, epochs=1, told=lines.append, **SMALL)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "x4d"}, "model 'x4d' is unknown; there are:"),
        ({"weights": "imagnet"}, "model 'frame_cnn' has no weights 'imagnet'; it has: none, imagenet"),
        ({"batch_size": 100}, "optim.batch_size is 100, but split 'train' has 8 clips and variants: at most 8"),
        ({"data": {"val_split": "test"}}, "split 'test' has no ok clip; splits that have: train (8), val (4)"),
        ({"test_split": "test"}, "split 'test' has no ok clip"),
        ({"optim": {"freeze": 7}}, "optim.freeze is 7, but the model has"),
        ({"optim": {"learnig_rate": 1}}, "setting 'optim.learnig_rate' does not exist"),
        ({"sed": 1}, "setting 'sed' does not exist; there are:"),
        ({"epochs": 0}, "setting 'optim.epochs' is 0: Input should be greater than or equal to 1"),
    ],
)
def test_bad_requests_are_one_line_before_anything_is_trained(
    videos: Path, lines: list[str], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(VidclfError) as error:
        vidclf.finetune(videos, told=lines.append, **(SMALL | {"epochs": 1} | changes))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not any(line.startswith("epoch") for line in lines)


def test_folders_that_cannot_be_trained_on_are_named(videos: Path, tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(ConfigError, match="nowhere is neither a folder of videos nor a dataset"):
        vidclf.finetune(tmp_path / "nowhere", told=lines.append, **SMALL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="empty"):
        vidclf.finetune(tmp_path / "empty", told=lines.append, **SMALL)
    for split in ("train", "val"):
        shutil.rmtree(videos / split / "light")
    with pytest.raises(ConfigError, match="clips of one class only, 'dark'"):
        vidclf.finetune(videos, epochs=1, told=lines.append, **(SMALL | {"batch_size": 1}))


def test_the_public_names_are_these() -> None:
    assert vidclf.__all__ == ["__version__", "available_models", "finetune", "load"]
    assert callable(vidclf.finetune)
    assert "x3d_xs" in [model.name for model in vidclf.available_models()]
    with pytest.raises(AttributeError, match="no attribute 'fintune'"):
        vidclf.fintune  # noqa: B018


@pytest.mark.thorough
def test_what_was_ingested_here_is_what_the_flow_would_publish(videos: Path, lines: list[str]) -> None:
    vidclf.finetune(videos, fast_dev_run=True, told=lines.append, **SMALL)
    (dataset,) = (Path(default_store()) / "datasets").iterdir()
    snapshot = read_snapshot(dataset_store(default_store(), dataset.name))
    assert snapshot.stats["status"] == {"ok": 12}
    assert snapshot.stats["ok_by_class"]["dark"] == {"train": 4, "val": 2}
    assert Store(dataset).read_json("latest.json")["snapshot_id"] == snapshot.snapshot_id
