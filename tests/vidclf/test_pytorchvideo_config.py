"""The configuration of "Video classification with PyTorchVideo" (UCF Sports) is understood as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.catalogue import find_job
from vidclf.config import TrainConfig
from vidclf.config.pytorchvideo import KEYS, translated
from vidclf.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
THEIRS: dict[str, Any] = {
    "dataset_path": "/data/ucf", "train_csv": "train.csv", "val_csv": "val.csv", "test_csv": "test.csv",
    "num_classes": 10, "num_epoch": 40, "batch_size": 4, "num_frames": 16, "learning_rate": 0.0005,
    "scheduler_step_size": 15, "scheduler_gamma": 0.2, "n_nodes": 512, "freeze_layers": 1, "epoch_start_unfreeze": 10,
    "block_start_unfreeze": 4, "do_train": 1, "do_test": 1, "path_torchvideo_model": "facebookresearch/pytorchvideo",
    "name_torchvideo_model": "slow_r50", "crop_video": 1,
}  # fmt: skip


def train_config(values: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """As ``vidclf run train/folder --config FILE`` takes it."""
    monkeypatch.chdir(ROOT)
    (folder / "theirs.yaml").write_text(yaml.safe_dump(values))
    config = find_job("train/folder", folder / "theirs.yaml").config
    assert isinstance(config, TrainConfig)
    return config


def test_all_of_its_keys_have_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(THEIRS) == set(KEYS)
    config = train_config(THEIRS, tmp_path, monkeypatch)
    assert (config.model, config.weights, config.head_hidden, config.test_split) == (
        "slow_r50",
        "kinetics400",
        512,
        "test",
    )
    data, optim = config.data, config.optim
    assert (data.num_frames, data.sampling, data.side_size, data.crop_size) == (16, "uniform", 256, 256)
    assert (optim.epochs, optim.batch_size, optim.learning_rate) == (40, 4, 0.0005)
    assert (optim.schedule, optim.step_size, optim.gamma) == ("step", 15, 0.2)
    assert (optim.freeze, optim.unfreeze_epoch, optim.unfreeze_from_block) == ("backbone", 10, 4)
    assert optim.unfreeze_lr_factor == 1.0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"freeze_layers": 0}, ("none", None)),
        ({"epoch_start_unfreeze": None}, ("backbone", None)),
        ({"epoch_start_unfreeze": 0}, (4, None)),
        ({"epoch_start_unfreeze": 0, "block_start_unfreeze": None}, ("none", None)),
    ],
)
def test_what_is_frozen_there_is_frozen_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: tuple[Any, Any]
) -> None:
    optim = train_config(THEIRS | changes, tmp_path, monkeypatch).optim
    assert (optim.freeze, optim.unfreeze_epoch) == expected


def test_what_is_ours_stays_and_wins() -> None:
    ours = {"model": "x3d_s", "optim": {"epochs": 3, "ema_decay": 0.9}}
    assert translated(ours) is ours
    mixed = translated({**ours, "num_epoch": 9, "batch_size": 2})
    assert mixed == {"model": "x3d_s", "optim": {"epochs": 3, "ema_decay": 0.9, "batch_size": 2}}


def test_switches_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="setting 'do_train' is 0: the flow train trains"):
        translated({"do_train": 0})
    with pytest.raises(ConfigError, match="setting 'crop_video' is 'yes': 1 or 0"):
        translated({"crop_video": "yes"})
