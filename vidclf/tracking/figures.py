"""Pictures for MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

MOST_CLIPS, MOST_FRAMES = 8, 8  # of the grid


def curves(history: Mapping[int, Mapping[str, float]]) -> Figure:
    """Loss, accuracy and learning rates over the epochs (epoch → numbers, as ``EpochReport.metrics`` names them)."""
    epochs = sorted(epoch for epoch, numbers in history.items() if "train_loss" in numbers)
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, title, names in (
        (loss, "loss", ("train_loss", "val_loss")),
        (accuracy, "top-1 accuracy", ("train_top1", "val_top1")),
        (rate, "learning rate", sorted({n for e in epochs for n in history[e] if n.startswith("learning_rate/")})),
    ):
        for name in names:
            points = [(epoch, history[epoch][name]) for epoch in epochs if name in history[epoch]]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix("learning_rate/"))
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=8)
    accuracy.set_ylim(0, 1.02)
    return figure


def grid(pictures: np.ndarray, labels: Sequence[str]) -> Figure:
    """A row for each of the first clips of a batch, uint8 (B, C, T, H, W), with its label and frames from first to last."""
    clips = pictures[:MOST_CLIPS]
    frames = np.unique(np.linspace(0, clips.shape[2] - 1, MOST_FRAMES).round().astype(int))
    figure = Figure(figsize=(1.3 * len(frames), 1.45 * len(clips)), layout="constrained")
    axes = figure.subplots(len(clips), len(frames), squeeze=False)
    for clip, label, row in zip(clips, labels, axes, strict=False):
        for frame, cell in zip(frames, row, strict=True):
            cell.imshow(clip[:, frame].transpose(1, 2, 0))
            cell.set_axis_off()
        row[0].set_title(label, fontsize=8, loc="left")
    return figure
