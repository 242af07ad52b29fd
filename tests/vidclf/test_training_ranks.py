"""Several processes that train together, over gloo."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vidclf.conftest import build_dataset
from tests.vidclf.tiny_training import VIEW, config, datasets, tiny_model
from vidclf.data.dataset import ClipDataset
from vidclf.storage import Store
from vidclf.training.loop import Watch, train
from vidclf.training.rank import ALONE, Rank
from vidclf.training.state import States

#: One worker or two: the same, if nothing depends on who computes.
SHAREABLE: dict[str, Any] = dict(epochs=3, batch_size=4, dropout=0.0, freeze=2, accumulation_steps=2)
UNFREEZING: dict[str, Any] = dict(epochs=2, freeze="backbone", unfreeze_epoch=1, top={"checkpoint_steps": 1})


def together(task: Callable[..., None], folder: Path) -> None:
    """Run ``task(rank, folder)`` in two processes that know each other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(_joined, args=(port, task, folder), nprocs=2)


def _joined(number: int, port: int, task: Callable[..., None], folder: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=number, world_size=2)
    torch.set_num_threads(1)
    task(Rank(number=number, world_size=2), folder)
    torch.distributed.destroy_process_group()


def train_shared(rank: Rank, folder: Path) -> None:
    """Leave the model that ``rank`` ends with in ``folder``."""
    tiny = build_dataset(folder / f"{rank.world_size}-{rank.number}", {"train": 6, "val": 1}, variants=1)
    train_data, _ = datasets(tiny)
    val = build_dataset(folder / f"val-{rank.world_size}-{rank.number}", {"val": 2})
    # three videos to judge for two ranks: 2 and 1
    val_data = ClipDataset(val.manifest.slice(0, 3), val.store, val.classes, "val", VIEW, train=False)
    model = tiny_model(seed=rank.number, dropout=0.0)
    report = train(model, train_data, val_data, config(**SHAREABLE), rank=rank).history[-1]
    numbers = {
        name: getattr(report, name) for name in ("train_loss", "train_top1", "val_loss", "val_top1", "val_videos")
    }
    torch.save({"numbers": numbers, "model": model.state_dict()}, folder / f"{rank.world_size}-{rank.number}.pt")


def train_and_resume(rank: Rank, folder: Path) -> None:
    """Train through, then once more from a state in the middle of an epoch; leave both models."""
    tiny = build_dataset(folder / f"rank{rank.number}", {"train": 6, "val": 1})
    store = Store(folder)

    def keep(step: int, state: dict[str, Any]) -> None:
        States(store, f"step-{step}").save(step, state)

    model = tiny_model()
    train(model, *datasets(tiny), config(**UNFREEZING), Watch(on_state=keep), rank=rank)
    rank.wait()
    resumed = tiny_model(seed=7)
    train(resumed, *datasets(tiny), config(**UNFREEZING), resume=States(store, "step-4").latest(), rank=rank)
    torch.save([model.state_dict(), resumed.state_dict()], folder / f"{rank.number}.pt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what two workers left, in one start of both since that takes longest."""
    folder = tmp_path_factory.mktemp("ranks")
    together(both, folder)
    return folder


def both(rank: Rank, folder: Path) -> None:
    train_shared(rank, folder)
    train_and_resume(rank, folder)


@pytest.mark.thorough
def test_two_workers_with_half_the_batch_give_the_weights_of_one_with_the_whole(trained: Path) -> None:
    train_shared(ALONE, trained)
    first, second, alone = (torch.load(trained / f"{name}.pt") for name in ("2-0", "2-1", "1-0"))
    assert first["numbers"] == second["numbers"]
    assert first["numbers"]["val_videos"] == 3
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
    torch.testing.assert_close(first["model"], alone["model"], rtol=1e-5, atol=1e-6)
    assert first["numbers"] == pytest.approx(alone["numbers"], rel=1e-5)


def test_two_workers_resume_in_mid_epoch_each_with_its_own_random_numbers(trained: Path) -> None:
    for number in range(2):
        through, resumed = torch.load(trained / f"{number}.pt")
        learnt = [name for name in through if "running" not in name and "num_batches" not in name]
        assert all(torch.equal(through[name], resumed[name]) for name in learnt)
    through, resumed = torch.load(trained / "0.pt")
    assert all(torch.equal(through[name], resumed[name]) for name in through)
