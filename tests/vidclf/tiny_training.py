"""A training that takes a blink: a network of a hundred weights on a dataset of a few clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.vidclf.conftest import TinyDataset
from vidclf.config import DataConfig, OptimConfig, TrainConfig
from vidclf.data.dataset import ClipDataset
from vidclf.data.view import StoredFrames, View
from vidclf.models.blocks import declare
from vidclf.storage import Store
from vidclf.training.loop import Watch
from vidclf.training.state import States, TrainState

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

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm3d(4)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4, 2)
        declare(self, [("conv", ["conv"]), ("norm", ["norm"]), ("head", ["head"])])

    def forward(self, video: Tensor) -> Tensor:
        features = self.norm(self.conv(video)).relu().mean(dim=(2, 3, 4))
        logits: Tensor = self.head(self.dropout(features))
        return logits


def tiny_model(seed: int = 0, dropout: float = 0.3) -> Tiny:
    torch.manual_seed(seed)
    return Tiny(dropout)


def config(**optim: Any) -> TrainConfig:
    """Settings of ``optim``, and ``top`` for those beside it."""
    top = optim.pop("top", {})
    defaults: dict[str, Any] = dict(epochs=3, batch_size=4, learning_rate=0.05)
    return TrainConfig(dataset="tiny", model="cnn_lstm", optim=OptimConfig(**(defaults | optim)), **top)


def datasets(tiny: TinyDataset) -> tuple[ClipDataset, ClipDataset]:
    shared = (tiny.manifest, tiny.store, tiny.classes)
    return (
        ClipDataset(*shared, "train", VIEW, train=True, data=DataConfig()),
        ClipDataset(*shared, "val", VIEW, train=False, num_views=2),
    )


class Kept:
    """Every state of a training, written to a folder and read back from there as a resume would."""

    def __init__(self, folder: Path):
        self._store = Store(folder)
        self.steps: list[int] = []

    def watch(self, **others: Any) -> Watch:
        return Watch(on_state=self._keep, **others)

    def _keep(self, step: int, state: TrainState) -> None:
        States(self._store, f"state-{len(self.steps)}").save(step, state)
        self.steps.append(step)

    def __getitem__(self, number: int) -> TrainState:
        state = States(self._store, f"state-{number}").latest()
        assert state is not None
        return state


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    """To the bit, buffers too."""
    for (name, tensor), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name
