"""The training loop: it learns, it resumes exactly, and its ranks keep step."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.vidclf.conftest import TinyDataset, build_dataset
from vidclf.config import DataConfig, OptimConfig, TrainConfig
from vidclf.data.dataset import ClipDataset
from vidclf.data.view import StoredFrames, View
from vidclf.errors import ConfigError, VidclfError
from vidclf.models import build
from vidclf.training.loop import EpochReport, TrainState, initial_model, seed_everything, train, unwrap
from vidclf.training.optim import build_optimizer
from vidclf.training.plan import EpochPlan

Make = Callable[..., TinyDataset]
VIEW = View(
    num_frames=2,
    sampling_rate=2,
    side_size=16,
    crop_size=16,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    stored=StoredFrames(num_frames=8, side_size=32),
)


class Tiny(nn.Module):
    """A network with everything that a resume can get wrong: batch statistics, dropout, momentum."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(4, 2)

    def forward(self, video: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.layers(video)))
        return logits


def config(**optim: Any) -> TrainConfig:
    defaults: dict[str, Any] = dict(epochs=3, batch_size=4, learning_rate=0.05)
    return TrainConfig(dataset="tiny", model="cnn_lstm", optim=OptimConfig(**(defaults | optim)))


def datasets(tiny: TinyDataset) -> tuple[ClipDataset, ClipDataset]:
    shared = (tiny.manifest, tiny.store, tiny.classes)
    return (
        ClipDataset(*shared, "train", VIEW, train=True, data=DataConfig()),
        ClipDataset(*shared, "val", VIEW, train=False, num_views=2),
    )


def tiny_model(seed: int = 0) -> Tiny:
    torch.manual_seed(seed)
    return Tiny()


def ignore(report: EpochReport) -> None:
    """Nothing is kept."""


def test_training_learns_what_can_be_learnt(make_dataset: Make) -> None:
    reports: list[EpochReport] = []
    train(tiny_model(), *datasets(make_dataset({"train": 6, "val": 3})), config(epochs=8), reports.append)
    assert [report.epoch for report in reports] == list(range(1, 9))
    assert reports[-1].train_loss < reports[0].train_loss
    assert reports[-1].val_top1 == 1.0
    assert reports[-1].val_videos == 6


def test_training_resumed_at_an_epoch_ends_with_the_same_weights(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 5, "val": 2}, variants=1)
    kept: list[bytes] = []

    def keep(report: EpochReport) -> None:
        file = io.BytesIO()
        torch.save(report.state(), file)
        kept.append(file.getvalue())

    def load(content: bytes) -> TrainState:
        state: TrainState = torch.load(io.BytesIO(content), weights_only=True)  # plain values only
        return state

    undisturbed = tiny_model()
    last = train(undisturbed, *datasets(tiny), config(), keep)
    for epoch in (1, 2):
        torch.rand(17 * epoch)  # another process stands elsewhere in its random numbers
        resumed = tiny_model(seed=99)
        final = train(resumed, *datasets(tiny), config(), ignore, resume=load(kept[epoch - 1]))
        assert last is not None
        assert final is not None
        assert (final.train_loss, final.val_loss, final.epoch) == (last.train_loss, last.val_loss, 3)
        for name, tensor in undisturbed.state_dict().items():
            assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert train(tiny_model(), *datasets(tiny), config(), ignore, resume=load(kept[2])) is None


def test_training_twice_gives_the_same_weights_and_another_seed_others(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 4, "val": 1})

    def weights(seed: int) -> Tensor:
        model = tiny_model()
        train(model, *datasets(tiny), config(epochs=2).model_copy(update={"seed": seed}), ignore)
        return model.head.weight

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_every_epoch_trains_on_other_views(make_dataset: Make) -> None:
    class Recorder(Tiny):
        seen: dict[int, list[float]]

        def forward(self, video: Tensor) -> Tensor:
            if self.training:
                self.seen.setdefault(len(reports), []).extend(video.mean(dim=(1, 2, 3, 4)).tolist())
            return super().forward(video)

    reports: list[EpochReport] = []
    model = Recorder()
    model.seen = {}
    tiny = make_dataset({"train": 4, "val": 1})  # batches that hold every clip: only the views can differ
    train(model, *datasets(tiny), config(batch_size=8), reports.append)
    views = [tuple(sorted(round(mean, 3) for mean in model.seen[epoch])) for epoch in range(3)]
    assert len(set(views)) == 3


def test_the_state_is_a_copy_that_later_steps_do_not_change(make_dataset: Make) -> None:
    states: list[TrainState] = []
    train(tiny_model(), *datasets(make_dataset({"train": 4, "val": 1})), config(), lambda r: states.append(r.state()))
    assert [state["epoch"] for state in states] == [1, 2, 3]
    assert not torch.equal(states[0]["model"]["head.weight"], states[2]["model"]["head.weight"])
    moments = [state["optimizer"]["state"][0]["exp_avg"] for state in states]
    assert not torch.equal(moments[0], moments[2])


def test_a_state_of_another_training_is_refused(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 4, "val": 1})
    states: list[TrainState] = []
    train(tiny_model(), *datasets(tiny), config(), lambda report: states.append(report.state()))
    with pytest.raises(ConfigError, match="of a training of 6 steps; this one has 10"):
        train(tiny_model(), *datasets(tiny), config(epochs=5), ignore, resume=states[0])
    with pytest.raises(ConfigError, match="of another model"):
        train(build("frame_cnn", 2), *datasets(tiny), config(), ignore, resume=states[0])


def test_a_fast_dev_run_is_one_batch_of_everything(make_dataset: Make) -> None:
    steps: list[tuple[int, int, str]] = []
    settings = config(batch_size=2).model_copy(update={"fast_dev_run": True})
    report = train(
        tiny_model(),
        *datasets(make_dataset({"train": 5, "val": 3})),
        settings,
        ignore,
        on_step=lambda *s: steps.append(s),
    )
    assert steps == [(1, 1, "epoch 1 of 1, step 1 of 1")]
    assert report is not None
    assert report.val_videos == 2


def test_the_report_has_the_numbers_that_a_tracker_wants(make_dataset: Make) -> None:
    report = train(tiny_model(), *datasets(make_dataset({"train": 4, "val": 1})), config(epochs=1), ignore)
    assert report is not None
    metrics = report.metrics()
    expected = {"train_loss", "train_top1", "val_loss", "val_top1", "learning_rate", "clips_per_second", "seconds"}
    assert expected | {"data_share", "epoch", "val_videos"} == metrics.keys()
    assert 0 < metrics["data_share"] < 1
    assert 0 < metrics["learning_rate"] <= 0.05


def test_a_loss_that_is_not_a_number_ends_the_training(make_dataset: Make) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    with pytest.raises(VidclfError, match="loss is nan after epoch 1"):
        train(model, *datasets(make_dataset({"train": 2, "val": 1})), config(), ignore)


def test_biases_and_norms_are_not_decayed() -> None:
    groups = build_optimizer(tiny_model(), OptimConfig(weight_decay=0.3)).param_groups
    assert {(p.ndim > 1, group["weight_decay"]) for group in groups for p in group["params"]} == {
        (True, 0.3),
        (False, 0),
    }


def test_a_training_starts_from_its_seed() -> None:
    settings = TrainConfig(dataset="d", model="frame_cnn", seed=3)
    torch.rand(5)
    first, second = (initial_model(settings, 2, VIEW).state_dict() for _ in range(2))
    other = initial_model(settings.model_copy(update={"seed": 4}), 2, VIEW).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_seeds_differ_by_epoch_and_rank() -> None:
    def drawn(*key: int) -> float:
        seed_everything(*key)
        return float(torch.rand(1))

    assert len({drawn(0, epoch, rank) for epoch in range(3) for rank in range(3)}) == 9
    assert drawn(0, 1, 2) == drawn(0, 1, 2)


@pytest.mark.parametrize("num_samples", [4, 7, 23, 24])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_rank_takes_the_same_number_of_equal_steps_and_no_clip_twice(num_samples: int, world_size: int) -> None:
    settings = config(batch_size=6)
    for epoch in range(2):
        plans = [EpochPlan.of(num_samples, settings, rank, world_size) for rank in range(world_size)]
        batches = [plan.batches(epoch) for plan in plans]
        assert len({tuple(len(batch) for batch in of_rank) for of_rank in batches}) == 1
        taken = [index for of_rank in batches for batch in of_rank for index in batch]
        assert len(taken) == len(set(taken)) > 0
        assert len(batches[0]) == plans[0].steps


def test_two_workers_see_in_a_step_what_one_sees() -> None:
    alone = EpochPlan.of(20, config(batch_size=6), 0, 1).batches(3)
    together = [EpochPlan.of(20, config(batch_size=6), rank, 2).batches(3) for rank in range(2)]
    assert [set(batch) for batch in alone] == [set(a) | set(b) for a, b in zip(*together, strict=True)]
    assert alone != EpochPlan.of(20, config(batch_size=6), 0, 1).batches(4)


def test_more_workers_than_a_batch_has_clips_are_refused() -> None:
    with pytest.raises(ConfigError, match="8 workers cannot share batches of 4 clips"):
        EpochPlan.of(100, config(batch_size=4), 0, 8)


def run_rank(rank: int, port: int, folder: str) -> None:
    """One of two processes that train together; leaves its last report and weights in ``folder``."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.set_num_threads(1)
    tiny = build_dataset(Path(folder) / f"rank{rank}", {"train": 4, "val": 1}, variants=1)
    # three videos to judge for two ranks: 2 and 1
    val = build_dataset(Path(folder) / f"val{rank}", {"val": 2})
    train_data, _ = datasets(tiny)
    val_data = ClipDataset(val.manifest.slice(0, 3), val.store, val.classes, "val", VIEW, train=False)
    model = DistributedDataParallel(tiny_model(seed=rank))
    report = train(model, train_data, val_data, config(epochs=2), ignore, rank=rank, world_size=2)
    assert report is not None
    torch.save({"metrics": report.metrics(), "model": unwrap(model).state_dict()}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_end_with_the_same_model_and_the_same_numbers(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(run_rank, args=(port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name in ("train_loss", "train_top1", "val_loss", "val_top1", "val_videos"):
        assert first["metrics"][name] == second["metrics"][name], name
    assert first["metrics"]["val_videos"] == 3
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
