"""A trained model that answers for video files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vidclf.data.dataset import views_of
from vidclf.data.view import View
from vidclf.errors import ConfigError, VidclfError
from vidclf.evaluation.scoring import view_probabilities
from vidclf.models import checkpoint
from vidclf.models.checkpoint import ModelCard
from vidclf.predict.answers import Prediction
from vidclf.predict.frames import ViewFrames, view_frames, window_frames, windows_of
from vidclf.predict.inputs import find_videos, local_file
from vidclf.predict.span import Span
from vidclf.scratch import scratch_folder


class Classifier:
    """A model with everything that it needs to be asked. Made by ``load``."""

    def __init__(self, model: nn.Module, card: ModelCard, device: torch.device | str = "cpu"):
        self.card = card
        self.device = _device(device)
        self._model = model.to(self.device).eval()

    @property
    def classes(self) -> list[str]:
        """The labels, in the order of the model's outputs."""
        return list(self.card.classes)

    @property
    def results(self) -> dict[str, float]:
        """The numbers of the training that it comes from."""
        return dict(self.card.results)

    def predict(
        self,
        paths: Sequence[str | os.PathLike[str]],
        top_k: int = 5,
        num_views: int = 3,
        *,
        start_time: float | None = None,
        end_time: float | None = None,
        duration: float | None = None,
    ) -> list[Prediction]:
        """The likeliest labels of each video.

        Args:
            paths: video files, of any length: each is taken as one clip, as the training's clips were. Also folders,
                patterns and URIs, each of which may mean several.
            top_k: labels per video, at most.
            num_views: views per video, spread evenly; their probabilities are averaged.
            start_time, end_time, duration: seconds; of each video only this part. A start needs one of the others.

        Raises:
            ConfigError: a file is not there, or a number makes no sense.
            MediaError: a file is not a video that can be decoded, or ends before the part does.
            StorageError: one cannot be fetched.
        """
        if isinstance(paths, (str, os.PathLike)):
            raise ConfigError(f"predict takes a list of paths; write [{os.fspath(paths)!r}]")
        _check(top_k, num_views)
        span = Span.of(start_time, end_time, duration)
        found = [video for path in paths for video in find_videos(os.fspath(path))]
        return [self._predict(video, span, top_k, num_views) for video in found]

    def slide(
        self, path: str | os.PathLike[str], seconds: float, top_k: int = 5, num_views: int = 1
    ) -> Iterator[Prediction]:
        """The labels of a long local video over time: one prediction for each window of ``seconds``, in order.

        Args:
            path: a local video; it is read once, and never held whole.
            seconds: length of a window; the last one is up to half of that longer or shorter.
            top_k: labels per window, at most.
            num_views: views per window, spread evenly; their probabilities are averaged.

        Raises:
            ConfigError: a number makes no sense.
            MediaError: the file cannot be decoded; from the iterator, where the damage is.
        """
        _check(top_k, num_views)
        if not seconds > 0:
            raise ConfigError(f"a window's seconds are more than 0, got {seconds:g}")
        windows = windows_of(Path(path), seconds)
        for window, seen in zip(windows, window_frames(Path(path), self.card.view, num_views, windows), strict=True):
            yield self.label(os.fspath(path), seen, top_k, num_views, float(window.start), float(window.end))

    def label(
        self,
        path: str,
        seen: ViewFrames,
        top_k: int,
        num_views: int,
        start: float | None = None,
        end: float | None = None,
    ) -> Prediction:
        """What the model says of frames that are in memory; ``path``, ``start`` and ``end`` say what they are of.

        Raises:
            VidclfError: its answer is no number.
        """
        (mean,) = self.probabilities(as_views(seen, self.card.view, num_views).unsqueeze(0))
        return Prediction(path, self.ranked(mean, path, top_k), start, end)

    @torch.inference_mode()
    def probabilities(self, videos: Tensor) -> np.ndarray:
        """Of each class, the mean over views.

        Args:
            videos: uint8 (B, V, C, T, H, W).

        Returns:
            float32 (B, num_classes).
        """
        of_views = view_probabilities(self._model, videos.to(self.device), self.card.view)
        return of_views.mean(dim=1).cpu().numpy()

    def ranked(self, probabilities: np.ndarray, what: str, top_k: int) -> tuple[tuple[str, float], ...]:
        """The likeliest labels of one video, from (num_classes,).

        Raises:
            VidclfError: they are no numbers; ``what`` is what they were to be of.
        """
        if not np.isfinite(probabilities).all():
            raise VidclfError(f"the model's answer for {what} is not a number")
        best = np.argsort(-probabilities, kind="stable")[:top_k]
        return tuple((self.card.classes[label_id], float(probabilities[label_id])) for label_id in best)

    def _predict(self, video: str, span: Span, top_k: int, num_views: int) -> Prediction:
        with local_file(video) as local:
            if span.is_whole:
                return self.label(video, view_frames(local, self.card.view, num_views), top_k, num_views)
            with scratch_folder() as folder:
                span.cut_out(local, self.card.view.stored.side_size, folder / "cut.mp4")
                seen = view_frames(folder / "cut.mp4", self.card.view, num_views)
            return self.label(video, seen, top_k, num_views, span.start, span.end)


def as_views(seen: ViewFrames, view: View, num_views: int) -> Tensor:
    """uint8 (V, C, T, H, W): cropped as the model wants them, by the evaluation's own code."""
    return views_of(torch.from_numpy(seen.frames).permute(0, 3, 1, 2), view, num_views)


def load(model: str | os.PathLike[str], device: torch.device | str | None = None) -> Classifier:
    """The classifier of a checkpoint folder, or of a model in MLflow's registry.

    Args:
        model: a local path, any fsspec URI, or ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        device: None: the GPU where there is one.

    Raises:
        ConfigError: there is no usable checkpoint, no such model, or no such device.
        StorageError: it cannot be read.
        TrackingError: MLflow does not answer.
    """
    chosen = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    found, card = checkpoint.load(model)
    return Classifier(found, card, chosen)


def _check(top_k: int, num_views: int) -> None:
    if top_k < 1 or num_views < 1:
        raise ConfigError(f"top_k and num_views are at least 1, got {top_k} and {num_views}")


def _device(name: torch.device | str) -> torch.device:
    """A device that is there.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter of a torch without CUDA
        first = (str(error).splitlines() or ["it cannot be used"])[0]
        raise ConfigError(f"device {str(name)!r}: {first}") from None
    return device
