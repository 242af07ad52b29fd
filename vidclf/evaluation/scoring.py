"""What a model says about every view of every video, as a table. Numbers are made from it in ``metrics``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vidclf.data.dataset import ClipDataset, collate
from vidclf.data.transforms import normalise
from vidclf.data.view import View
from vidclf.errors import StorageError, VidclfError

FrameOrder = Literal["stored", "shuffled"]
Progress = Callable[[int, int, str], None]  # done, total, what

#: One row per video and view.
SCORES = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("view", pa.int32(), nullable=False),
        pa.field("label_id", pa.int32(), nullable=False),
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),  # in the order of the classes
        pa.field("seconds", pa.float64(), nullable=False),  # this view's share of the model's time, without decoding
    ]
)


def ignore_progress(done: int, total: int, text: str) -> None:
    """Progress that nobody looks at."""


def view_probabilities(model: nn.Module, videos: Tensor, view: View) -> Tensor:
    """Probabilities of each view.

    Args:
        model: in eval mode.
        videos: uint8 (B, V, C, T, H, W), on the model's device.
        view: its mean and std are used.

    Returns:
        float32 (B, V, num_classes). A video's answer is their mean over V: of probabilities, not of logits.
    """
    logits: Tensor = model(normalise(videos.flatten(0, 1), view))
    return logits.float().softmax(dim=1).reshape(videos.shape[0], videos.shape[1], -1)


@torch.inference_mode()
def score(
    model: nn.Module,
    dataset: ClipDataset,
    device: torch.device | str = "cpu",
    frame_order: FrameOrder = "stored",
    seed: int = 0,
    batch_size: int = 8,
    on_step: Progress = ignore_progress,
    loader_workers: int = 0,
) -> pa.Table:
    """Score every view of every video of ``dataset``.

    Args:
        model: put into eval mode, and on ``device``.
        dataset: made with ``train=False``.
        device: where to compute.
        frame_order: "shuffled" permutes the frames within each view, by ``seed`` and video: the same pictures
            without their order. What a model then still knows, it knew without motion.
        seed: of the permutations.
        batch_size: videos at a time; does not change the result but for rounding.
        on_step: told after every batch: videos done, videos in all, "score".
        loader_workers: processes that decode; 0: this one.

    Returns:
        A ``SCORES`` table, in the dataset's order.

    Raises:
        VidclfError: the model answered something that is not a number.
        StorageError: frames cannot be read.
    """
    if dataset.train:
        raise ValueError("scoring needs fixed views: make the dataset with train=False")
    model = model.to(device).eval()
    loader = DataLoader(dataset, batch_size, collate_fn=collate, num_workers=loader_workers)
    rows: list[dict[str, Any]] = []
    done = 0
    for videos, label_ids, _, indices, failures in loader:  # videos: uint8 (B, V, C, T, H, W)
        if failures:
            raise StorageError(f"{failures[0].clip_id} cannot be read: {failures[0].reason}")
        if frame_order == "shuffled":
            videos = torch.stack([_shuffled(video, seed, index) for video, index in zip(videos, indices, strict=True)])
        started = _now(device)
        probabilities = view_probabilities(model, videos.to(device), dataset.view).cpu().numpy()
        seconds = (_now(device) - started) / (videos.shape[0] * videos.shape[1])
        if not np.isfinite(probabilities).all():
            raise VidclfError(
                f"the model's answer for {dataset.entries[indices[0]].clip_id} or a neighbour is not a number"
            )
        for index, label_id, views in zip(indices, label_ids.tolist(), probabilities, strict=True):
            clip_id = dataset.entries[index].clip_id
            rows += [
                {"clip_id": clip_id, "view": i, "label_id": label_id, "probabilities": p, "seconds": seconds}
                for i, p in enumerate(views)
            ]
        done += len(indices)
        on_step(done, len(dataset), "score")
    return pa.Table.from_pylist(rows, schema=SCORES)


def _shuffled(video: Tensor, seed: int, index: int) -> Tensor:
    """(V, C, T, H, W) with each view's frames in another order."""
    rng = np.random.default_rng((seed, index))
    return torch.stack([view[:, torch.from_numpy(rng.permutation(view.shape[1]))] for view in video])


def _now(device: torch.device | str) -> float:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)  # else the clock stops before the work does
    return time.perf_counter()
