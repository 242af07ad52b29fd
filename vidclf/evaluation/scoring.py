"""What a model says about every view of every video, as a table. Numbers are made from it in ``metrics``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidclf.data.transforms import normalise
from vidclf.data.view import View
from vidclf.errors import ClipError, StorageError
from vidclf.evaluation.batching import USUAL_VIEWS, in_steps, is_out_of_memory
from vidclf.evaluation.clips import EvaluationClips

FrameOrder = Literal["stored", "shuffled"]
Progress = Callable[[int, int, str], None]  # done, total, what

#: One row per video and view; also of a video that could not be scored: ``status`` says so in all its rows.
PREDICTIONS = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("view", pa.int32(), nullable=False),  # ensemble_view · num_spatial_crops + spatial_crop
        pa.field("ensemble_view", pa.int32(), nullable=False),  # from the clip's start to its end
        pa.field("spatial_crop", pa.int32(), nullable=False),  # along the longer side
        pa.field("label_id", pa.int32(), nullable=False),  # the truth, in the order of the model's classes
        pa.field("status", pa.string(), nullable=False),  # ok, or a kind of error
        pa.field("message", pa.string()),
        pa.field("probabilities", pa.list_(pa.float32())),  # in the order of the model's classes; null: not ok
        pa.field("seconds", pa.float64(), nullable=False),  # this view's share of the model's time, without decoding
    ]
)

OK = "ok"
ERROR = "error"  # the model raised
NOT_A_NUMBER = "not_a_number"
OUT_OF_MEMORY = "out_of_memory"  # a single view was too much
LONGEST_MESSAGE = 300
#: Ways to end that say nothing of the clip: another run tries again.
OPEN = frozenset({StorageError.kind, OUT_OF_MEMORY, "timeout"})


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


class Scorer:
    """A model that is asked about clips, a bounded number of views at a time.

    Args:
        model: put into eval mode, and on ``device``.
        device: where to compute.
        frame_order: "shuffled" permutes the frames within each view, by ``seed`` and video: the same pictures
            without their order. What a model then still knows, it knew without motion.
        seed: of the permutations.
        views_at_a_time: of one forward pass; halved where memory runs out. Does not change a result but for rounding.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device | str = "cpu",
        frame_order: FrameOrder = "stored",
        seed: int = 0,
        views_at_a_time: int = USUAL_VIEWS,
    ):
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.frame_order, self.seed, self.views_at_a_time = frame_order, seed, views_at_a_time

    def score(self, data: EvaluationClips, indices: Sequence[int]) -> pa.Table:
        """A ``PREDICTIONS`` table of the clips at ``indices``, in their order. What one clip raises costs that clip."""
        rows: list[dict[str, Any]] = []
        waiting: list[tuple[int, Tensor]] = []
        found: dict[int, list[dict[str, Any]]] = {}
        for index in indices:
            try:
                waiting.append((index, data.read(index)))
            except (StorageError, ClipError) as error:
                found[index] = failed_rows(data, index, error.kind, str(error))
                continue
            except Exception as error:  # noqa: BLE001 - hostile input finds what nobody thought of; its clip pays
                found[index] = failed_rows(data, index, ERROR, f"{type(error).__name__}: {error}")
                continue
            if len(waiting) * data.num_views >= self.views_at_a_time:
                found |= self._answer(data, waiting)
                waiting = []
        found |= self._answer(data, waiting)
        for index in indices:
            rows += found[index]
        return pa.Table.from_pylist(rows, schema=PREDICTIONS)

    def _answer(self, data: EvaluationClips, clips: list[tuple[int, Tensor]]) -> dict[int, list[dict[str, Any]]]:
        """Rows of clips that go together; where that fails, of each alone."""
        if not clips:
            return {}
        try:
            probabilities, seconds = self._forward(data.view, clips)
        except Exception as error:  # noqa: BLE001 - a model of somebody else's may raise anything
            if len(clips) > 1:
                return {k: rows for clip in clips for k, rows in self._answer(data, [clip]).items()}
            kind = OUT_OF_MEMORY if is_out_of_memory(error) else ERROR
            return {clips[0][0]: failed_rows(data, clips[0][0], kind, f"{type(error).__name__}: {error}")}
        return {
            index: _rows(data, index, views, seconds)
            for (index, _), views in zip(clips, probabilities, strict=True)
        }  # fmt: skip

    @torch.inference_mode()
    def _forward(self, view: View, clips: list[tuple[int, Tensor]]) -> tuple[NDArray[np.float32], float]:
        """float32 (B, V, num_classes), and seconds per view."""
        videos = [video if self.frame_order == "stored" else _shuffled(video, self.seed, i) for i, video in clips]
        views = torch.cat(videos)  # uint8 (B·V, C, T, H, W)

        def answer(part: Tensor) -> Tensor:
            return view_probabilities(self.model, part.unsqueeze(0).to(self.device), view)[0]

        started = _now(self.device)
        probabilities, self.views_at_a_time = in_steps(answer, views, self.views_at_a_time)
        answers: NDArray[np.float32] = probabilities.cpu().numpy()
        seconds = (_now(self.device) - started) / len(views)
        return answers.reshape(len(clips), -1, answers.shape[-1]), seconds


def score(
    model: nn.Module,
    data: EvaluationClips,
    device: torch.device | str = "cpu",
    frame_order: FrameOrder = "stored",
    seed: int = 0,
    batch_size: int = 8,
    on_step: Progress = ignore_progress,
) -> pa.Table:
    """Score every view of every video of ``data``, in this process.

    Args:
        model: put into eval mode, and on ``device``.
        data: which videos, and which views of them.
        device: where to compute.
        frame_order: see ``Scorer``.
        seed: of the permutations.
        batch_size: videos at a time; does not change the result but for rounding.
        on_step: told after every batch: videos done, videos in all, "score".

    Returns:
        A ``PREDICTIONS`` table, in the dataset's order.
    """
    scorer = Scorer(model, device, frame_order, seed, batch_size * data.num_views)
    tables = []
    for begin in range(0, len(data), batch_size):
        indices = range(begin, min(begin + batch_size, len(data)))
        tables.append(scorer.score(data, indices))
        on_step(indices.stop, len(data), "score")
    return pa.concat_tables(tables)


def failed_rows(data: EvaluationClips, index: int, status: str, message: str) -> list[dict[str, Any]]:
    """The rows of a clip that could not be scored."""
    line = " ".join(message.split())[:LONGEST_MESSAGE]
    return [_row(data, index, view) | {"status": status, "message": line} for view in range(data.num_views)]


def _rows(data: EvaluationClips, index: int, views: NDArray[np.float32], seconds: float) -> list[dict[str, Any]]:
    if not np.isfinite(views).all():
        return failed_rows(data, index, NOT_A_NUMBER, "the model's answer is not a number")
    return [
        _row(data, index, view) | {"probabilities": probabilities, "seconds": seconds}
        for view, probabilities in enumerate(views)
    ]


def _row(data: EvaluationClips, index: int, view: int) -> dict[str, Any]:
    entry = data.entries[index]
    ensemble_view, spatial_crop = divmod(view, data.num_spatial_crops)
    return {
        "clip_id": entry.clip_id,
        "view": view,
        "ensemble_view": ensemble_view,
        "spatial_crop": spatial_crop,
        "label_id": entry.label_id,
        "status": OK,
        "message": None,
        "probabilities": None,
        "seconds": 0.0,
    }


def _shuffled(video: Tensor, seed: int, index: int) -> Tensor:
    """(V, C, T, H, W) with each view's frames in another order."""
    rng = np.random.default_rng((seed, index))
    return torch.stack([view[:, torch.from_numpy(rng.permutation(view.shape[1]))] for view in video])


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # else the clock stops before the work does
    return time.perf_counter()
