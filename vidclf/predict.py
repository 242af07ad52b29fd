"""Labels for video files, from a checkpoint and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vidclf.data.dataset import views_of
from vidclf.data.sampling import view_windows
from vidclf.data.view import View
from vidclf.errors import ConfigError
from vidclf.evaluation.scoring import view_probabilities
from vidclf.media.frames import read_chosen_frames, read_frames
from vidclf.models import checkpoint
from vidclf.models.checkpoint import ModelCard


@dataclass(frozen=True)
class Prediction:
    """What a model says about one video."""

    path: str
    labels: tuple[tuple[str, float], ...]  # label and probability, the likeliest first

    @property
    def label(self) -> str:
        return self.labels[0][0]

    @property
    def probability(self) -> float:
        return self.labels[0][1]


class Classifier:
    """A model with everything that it needs to be asked. Made by ``load``."""

    def __init__(self, model: nn.Module, card: ModelCard, device: torch.device | str = "cpu"):
        self.card = card
        self.device = torch.device(device)
        self._model = model.to(self.device).eval()

    @property
    def classes(self) -> list[str]:
        """The labels, in the order of the model's outputs."""
        return list(self.card.classes)

    @property
    def results(self) -> dict[str, float]:
        """The numbers of the training that it comes from."""
        return dict(self.card.results)

    def predict(self, paths: Sequence[str | os.PathLike[str]], top_k: int = 5, num_views: int = 3) -> list[Prediction]:
        """The likeliest labels of each video.

        Args:
            paths: local video files, of any length: each is taken as one clip, as the training's clips were.
            top_k: labels per video, at most.
            num_views: views per video, spread evenly; their probabilities are averaged.

        Raises:
            ConfigError: a file is not there, or ``top_k`` or ``num_views`` is less than 1.
            MediaError: a file is not a video that can be decoded.
        """
        if isinstance(paths, (str, os.PathLike)):
            raise ConfigError(f"predict takes a list of paths; write [{os.fspath(paths)!r}]")
        if top_k < 1 or num_views < 1:
            raise ConfigError(f"top_k and num_views are at least 1, got {top_k} and {num_views}")
        return [self._predict(Path(path), top_k, num_views) for path in paths]

    @torch.inference_mode()
    def _predict(self, path: Path, top_k: int, num_views: int) -> Prediction:
        if not path.is_file():
            raise ConfigError(f"{path} is not a file")
        view = self.card.view
        chosen = torch.from_numpy(_frames(path, view, num_views)).permute(0, 3, 1, 2)  # uint8 (V·T, C, H, W)
        videos = views_of(chosen, view, num_views).unsqueeze(0).to(self.device)  # (1, V, C, T, H, W)
        mean = view_probabilities(self._model, videos, view)[0].mean(dim=0)
        best = mean.topk(min(top_k, len(self.card.classes)))
        labels = [self.card.classes[label_id] for label_id in best.indices.tolist()]
        return Prediction(str(path), tuple(zip(labels, best.values.tolist(), strict=True)))


def _frames(path: Path, view: View, num_views: int) -> np.ndarray:
    """The frames of all views, as the training's reader would find them: uint8 (V·T, H, W, C)."""

    def choose(num_stored: int) -> list[int]:
        windows = view_windows(num_stored, view.num_frames, view.sampling_rate, num_views, view.sampling)
        return [int(index) for index in windows.flatten()]

    stored = view.stored
    if view.reader == "clips":
        assert stored.side_size is not None  # a profile has one
        return read_chosen_frames(path, choose, fps=stored.fps, side_size=stored.side_size)
    frames, _ = read_frames(path, **stored.model_dump())
    return frames[choose(len(frames))]


def load(path_or_uri: str | os.PathLike[str], device: torch.device | str | None = None) -> Classifier:
    """The classifier of a checkpoint folder: a local path or any fsspec URI.

    Args:
        device: None: the GPU where there is one.

    Raises:
        ConfigError: there is no usable checkpoint.
        StorageError: it cannot be read.
    """
    model, card = checkpoint.load(path_or_uri)
    return Classifier(model, card, device or ("cuda" if torch.cuda.is_available() else "cpu"))
