"""What the loop does with the data's options: balance, mixing, clips that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from tests.snapshotted import DATASET, snapshotted
from tests.vidclf.tiny_training import VIEW, Make, config, datasets, tiny_model
from vidclf.config import DataConfig, TrainConfig
from vidclf.data.dataset import ClipDataset
from vidclf.data.quarantine import TooManyUnreadable
from vidclf.data.transforms import normalise
from vidclf.snapshot import dataset_store
from vidclf.tracking.figures import curves, grid
from vidclf.training.learner import pictures
from vidclf.training.loop import Watch, plan_of, train
from vidclf.training.loss import Criterion
from vidclf.training.rank import ALONE
from vidclf.training.run import run_training
from vidclf.training.work import settle


def unequal(make_dataset: Make) -> ClipDataset:
    """Eight dark clips and two light ones."""
    tiny = make_dataset({"train": 8, "val": 1})
    rows = [row for row in tiny.manifest.to_pylist() if row["label"] == "dark" or row["clip_id"][-1] in "01"]
    manifest = type(tiny.manifest).from_pylist(rows, schema=tiny.manifest.schema)
    return ClipDataset(manifest, tiny.store, tiny.classes, "train", VIEW, train=True)


def with_data(**data: Any) -> TrainConfig:
    return config(top={"data": DataConfig(**data)})


def test_a_rare_class_is_drawn_as_often_as_a_common_one(make_dataset: Make) -> None:
    data = unequal(make_dataset)
    plan = plan_of(data, with_data(balance="sampler"))
    drawn = [data.label_ids[index] for epoch in range(40) for batch in plan.batches(epoch) for index in batch]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.08)
    usual = [data.label_ids[index] for batch in plan_of(data, config()).batches(0) for index in batch]
    assert sum(usual) <= 2


def test_a_rare_class_weighs_as_much_as_a_common_one(make_dataset: Make) -> None:
    data = unequal(make_dataset)
    logits, targets = torch.zeros(10, 2), torch.tensor(data.label_ids)
    losses = Criterion(with_data(balance="loss"), data, ALONE)(logits, targets)
    assert losses[targets == 0].sum() == pytest.approx(float(losses[targets == 1].sum()))
    plain = Criterion(config(), data, ALONE)(logits, targets)
    assert float(losses.mean()) == pytest.approx(float(plain.mean()))


def test_mixing_is_the_same_for_the_same_batch_and_another_for_the_next(make_dataset: Make) -> None:
    criterion = Criterion(with_data(mixup_alpha=0.8), datasets(make_dataset({"train": 2, "val": 1}))[0], ALONE)
    videos, label_ids, weights = torch.rand(4, 3, 2, 8, 8), torch.tensor([0, 1, 1, 0]), torch.ones(4)
    first, again, later = (criterion.mixed(videos, label_ids, weights, batch)[0] for batch in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_training_on_mixed_clips_learns(make_dataset: Make) -> None:
    settings = with_data(mixup_alpha=0.2, cutmix_alpha=0.2)
    trained = train(tiny_model(dropout=0), *datasets(make_dataset({"train": 6, "val": 2})), settings)
    assert trained.history[-1].val_loss < trained.history[0].val_loss


def damaged(folder: Path, path: str = "frames/a.parquet") -> str:
    """The store of a snapshot in which the first training clip's frames are no pictures."""
    snapshotted(folder, {"train": 4, "val": 1})
    store = dataset_store(str(folder / "store"), DATASET)
    table = store.read_table(path)
    rows = table.to_pylist()
    rows[0]["frames"] = [b"no picture"] * len(rows[0]["frames"])
    store.write_table(path, pa.Table.from_pylist(rows, schema=table.schema), row_group_size=1, compression="none")
    return str(folder / "store")


class Notes:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.seen: list[tuple[np.ndarray, list[str]]] = []
        self.reasons: dict[str, str] = {}

    def log_epoch(self, numbers: Any, epoch: int) -> None:
        self.epochs.append(dict(numbers))

    def log_seen(self, pictures: np.ndarray, labels: Any) -> None:
        self.seen.append((pictures, list(labels)))

    def log_unreadable(self, reasons: Any) -> None:
        self.reasons = dict(reasons)


def settings_for(store: str, share: float) -> TrainConfig:
    data = DataConfig(num_frames=2, crop_size=32, max_unreadable_share=share)
    optim = {"epochs": 2, "batch_size": 4}
    return TrainConfig(dataset=DATASET, model="frame_cnn", store=store, data=data, optim=optim)  # type: ignore[arg-type]


@pytest.mark.thorough
def test_clips_that_cannot_be_read_are_named_and_count_nowhere(tmp_path: Path) -> None:
    notes = Notes()
    run_training(settle(settings_for(damaged(tmp_path), 0.2)), tracker=notes)
    assert list(notes.reasons) == ["train-dark-0"]
    assert [numbers["unreadable"] for numbers in notes.epochs] == [1, 1]
    for numbers in notes.epochs:
        assert numbers["train_top1"] * 7 == pytest.approx(round(numbers["train_top1"] * 7))  # of seven, not of eight


def test_more_unreadable_clips_than_allowed_end_the_training(tmp_path: Path) -> None:
    with pytest.raises(TooManyUnreadable, match=r"1 of 8 clips cannot be read, data.max_unreadable_share is 0.1"):
        run_training(settle(settings_for(damaged(tmp_path), 0.1)))


def test_what_is_shown_is_what_entered_the_model(make_dataset: Make) -> None:
    entered: list[Tensor] = []
    model = tiny_model()
    model.conv.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0].detach()))
    shown: list[tuple[Tensor, Tensor]] = []
    watch = Watch(on_seen=lambda pictures, label_ids: shown.append((pictures, label_ids)))
    train(model, *datasets(make_dataset({"train": 4, "val": 1})), config(epochs=2), watch)
    ((seen, label_ids),) = shown
    assert seen.dtype == torch.uint8
    assert torch.equal(normalise(seen, VIEW), entered[0])
    assert torch.equal(pictures(entered[0], VIEW), seen)
    green = seen[:, 1].float().mean(dim=(1, 2, 3))  # the class
    assert torch.equal(green > 120, label_ids.bool())


def test_pictures_for_people_can_be_drawn() -> None:
    figure = grid(np.zeros((3, 3, 5, 8, 8), np.uint8), ["a", "b", "c"])
    assert len(figure.axes) == 15
    history = {
        1: {"train_loss": 1.0, "val_loss": 2.0, "learning_rate/head": 0.1},
        2: {"train_loss": 0.5, "val_loss": 1},
    }
    loss, _, rate = curves(history).axes
    assert [line.get_label() for line in loss.lines] == ["train_loss", "val_loss"]
    assert [line.get_label() for line in rate.lines] == ["head"]
