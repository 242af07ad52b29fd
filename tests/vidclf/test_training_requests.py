"""Requests that cannot be met are told in one line, before anything is started for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from tests.snapshotted import DATASET, snapshotted
from vidclf.config import TrainConfig, parse
from vidclf.errors import ConfigError
from vidclf.snapshot import dataset_store, point_latest_at, write_snapshot
from vidclf.training.checks import check
from vidclf.training.claim import claimed, is_finished
from vidclf.training.run import run_training
from vidclf.training.work import TrainingWork, open_split, settle

SMALL: dict[str, Any] = {"num_frames": 2, "crop_size": 32}


@pytest.fixture
def store(tmp_path: Path) -> str:
    snapshotted(tmp_path, {"train": 3, "val": 1})
    return str(tmp_path / "store")


def work_of(store: str, **settings: Any) -> TrainingWork:
    optim = {"epochs": 2, "batch_size": 2, **settings.pop("optim", {})}
    data = SMALL | settings.pop("data", {})
    values = {"dataset": DATASET, "model": "frame_cnn", "store": store, "data": data, "optim": optim, **settings}
    return settle(parse(TrainConfig, values))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(data={"train_split": "test"}), "split 'test' has no ok clip; splits that have: train (6), val (2)"),
        (dict(data={"val_split": "test"}), "split 'test' has no ok clip"),
        (dict(test_split="test"), "split 'test' has no ok clip"),
        (dict(optim={"batch_size": 7}), "optim.batch_size is 7, but split 'train' has 6 clips and variants: at most 6"),
        (dict(num_workers=3), "3 workers cannot share batches of 2 clips equally"),
        (dict(weights="kinetics400"), "model 'frame_cnn' has no weights 'kinetics400'; it has: none, imagenet"),
        (dict(optim={"freeze": 99}), "optim.freeze is 99, but the model has "),
        (dict(dataset="other"), "has no snapshot yet: run an ingest first"),
        (dict(snapshot="0123"), "has no snapshot '0123'"),
        (dict(model="frame_cn"), "model 'frame_cn' is unknown; there are: "),
        (dict(model="s3d"), "model 's3d' needs a num_frames of at least"),
        (dict(num_worker=1), "setting 'num_worker' does not exist; there are: channels_last, checkpoint_steps"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_met_is_one_line(store: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        check(work_of(store, **settings))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_snapshot_of_one_class_cannot_be_trained_on(tmp_path: Path) -> None:
    snapshot = snapshotted(tmp_path, {"train": 3, "val": 1})
    store = dataset_store(str(tmp_path / "store"), DATASET)
    dark = snapshot.clips.filter(pc.equal(snapshot.clips["label"], "dark"))
    point_latest_at(store, write_snapshot(store, dark, snapshot.classes, snapshot.made_by), "test")
    with pytest.raises(
        ConfigError, match="split 'train' has clips of one class only, 'dark': there is nothing to learn"
    ):
        check(work_of(str(tmp_path / "store")))


def test_labels_that_a_checkpoint_does_not_know_are_named(store: str) -> None:
    work = work_of(store)
    with pytest.raises(ConfigError, match="labelled 'light', which is none of the 1 classes"):
        open_split(store, DATASET, work.snapshot_id, ["dark"], "val", work.view, 1)


def test_what_can_be_met_is_let_through(store: str) -> None:
    check(work_of(store, optim={"freeze": 1, "unfreeze_epoch": 1}, num_workers=2))


def test_the_name_follows_from_the_work_and_not_from_how_it_is_done(store: str) -> None:
    name = work_of(store).name
    how: list[dict[str, Any]] = [
        dict(num_workers=2), dict(checkpoint_steps=5), dict(experiment="x"), dict(compile=True),
        dict(data={"loader_workers": 2}), dict(data={"max_unreadable_share": 0.5}),
    ]  # fmt: skip
    what: list[dict[str, Any]] = [dict(seed=1), dict(optim={"ema_decay": 0.9}), dict(weights="imagenet")]
    assert {work_of(store, **settings).name for settings in how} == {name}
    others = {work_of(store, **settings).name for settings in what}
    assert len(others | {name}) == 4


@pytest.mark.thorough
def test_a_training_is_finished_once_its_model_is_there(store: str) -> None:
    work = work_of(store)
    assert not is_finished(work)
    with claimed(work):
        run_training(work)
    assert is_finished(work)
    assert not list(Path(store).glob("training/*/states/*"))  # what was needed to go on
    attempt = work_of(store, fast_dev_run=True)
    with claimed(attempt):
        run_training(attempt)
    assert not is_finished(attempt)
