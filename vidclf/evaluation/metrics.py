"""Accuracies that say what they are: of videos or of views, of how many, and how sure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vidclf.errors import ConfigError


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion: (low, high), within 0..1.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22:209-212; recommended
    for small n by Brown, Cai & DasGupta 2001, "Interval estimation for a binomial proportion", Statistical Science
    16:101-133. It holds for independent trials: for videos, hardly for views of the same video.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n} make no proportion")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # the share lies inside in exact arithmetic, and at 0 and 1 it is the bound itself
    return min(share, max(0.0, (centre - half) / scale)), max(share, min(1.0, (centre + half) / scale))


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers, how many were asked, and its 95 % interval."""

    value: float  # 0..1
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, n: int) -> Accuracy:
        """Raises ConfigError where nothing was asked."""
        if n == 0:
            raise ConfigError("there is no video to judge")
        return cls(successes / n, n, *wilson_interval(successes, n))

    def __str__(self) -> str:
        low, high = f"{100 * self.low:.1f}", f"{100 * self.high:.1f}"
        return f"{100 * self.value:.1f} % (N={self.n}, 95 % CI {low}–{high})"


@dataclass(frozen=True)
class Evaluation:
    """Everything that is said about one model on one split."""

    videos: int
    views_per_video: int
    video_top1: Accuracy
    video_top5: Accuracy | None  # None where there are five classes or fewer: it could not be wrong
    clip_top1: Accuracy  # of single views, which are not independent: its interval is too narrow
    clip_top5: Accuracy | None
    per_class: dict[str, Accuracy]  # of videos; classes without a video are not there
    confusion: list[list[int]]  # videos; row: truth, column: answer
    seconds_per_video: float  # the model's time for all views of a video

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def video_predictions(scores: pa.Table) -> pa.Table:
    """One row per video: probabilities are the mean over its views, seconds the sum. Same columns as ``SCORES``,
    ``view`` replaced by ``num_views``; in the order of first appearance."""
    groups: dict[str, list[int]] = {}
    for row, clip_id in enumerate(scores["clip_id"].to_pylist()):
        groups.setdefault(clip_id, []).append(row)
    probabilities, label_ids = _arrays(scores)
    seconds = scores["seconds"].to_numpy()
    means = [probabilities[rows].mean(axis=0) for rows in groups.values()]
    return pa.table(
        {
            "clip_id": pa.array(list(groups), pa.string()),
            "num_views": pa.array([len(rows) for rows in groups.values()], pa.int32()),
            "label_id": pa.array([int(label_ids[rows[0]]) for rows in groups.values()], pa.int32()),
            "probabilities": pa.array([mean.tolist() for mean in means], pa.list_(pa.float32())),
            "seconds": pa.array([float(seconds[rows].sum()) for rows in groups.values()], pa.float64()),
        }
    )


def accuracy(table: pa.Table, k: int = 1) -> Accuracy:
    """Share of rows whose truth is among the ``k`` likeliest; rows are views (``SCORES``) or videos.

    Ties go to the lower label id, never to the truth.
    """
    probabilities, label_ids = _arrays(table)
    right = (_ranking(probabilities)[:, :k] == label_ids[:, None]).any(axis=1) if len(table) else np.zeros(0)
    return Accuracy.of(int(right.sum()), len(table))


def confusion_matrix(videos: pa.Table, num_classes: int) -> NDArray[np.int64]:
    """Counts (num_classes, num_classes): row is the truth, column the answer."""
    probabilities, label_ids = _arrays(videos)
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (label_ids, _ranking(probabilities)[:, 0]), 1)
    return counts


def accuracy_between(videos: pa.Table, classes: Sequence[str], first: str, second: str) -> Accuracy:
    """Among videos of two classes, how often the right one of the two is likelier, whatever the others get.

    Raises:
        ConfigError: a class is unknown, or there is no video of either.
    """
    unknown = [name for name in (first, second) if name not in classes]
    if unknown:
        raise ConfigError(f"class {unknown[0]!r} is unknown; there are: {', '.join(classes)}")
    pair = np.array([classes.index(first), classes.index(second)])
    probabilities, label_ids = _arrays(videos)
    of_pair = np.isin(label_ids, pair)
    answers = pair[_ranking(probabilities[of_pair][:, pair])[:, 0]]
    return Accuracy.of(int((answers == label_ids[of_pair]).sum()), int(of_pair.sum()))


def evaluate(scores: pa.Table, classes: Sequence[str]) -> Evaluation:
    """All numbers from a ``SCORES`` table.

    Raises:
        ConfigError: there is no video in it.
    """
    if not len(scores):
        raise ConfigError("there is no video to judge")
    videos = video_predictions(scores)
    confusion = confusion_matrix(videos, len(classes))
    top5 = len(classes) > 5
    return Evaluation(
        videos=len(videos),
        views_per_video=max(videos["num_views"].to_pylist()),
        video_top1=accuracy(videos),
        video_top5=accuracy(videos, 5) if top5 else None,
        clip_top1=accuracy(scores),
        clip_top5=accuracy(scores, 5) if top5 else None,
        per_class={
            name: Accuracy.of(int(row[label_id]), int(row.sum()))
            for label_id, (name, row) in enumerate(zip(classes, confusion, strict=True))
            if row.sum()
        },
        confusion=confusion.tolist(),
        seconds_per_video=float(videos["seconds"].to_numpy().mean()),
    )


def _arrays(table: pa.Table) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """probabilities (rows, num_classes), label ids (rows,)"""
    lists = table["probabilities"].combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    rows = len(table)
    label_ids = table["label_id"].to_numpy().astype(np.int64)
    return flat.reshape(rows, -1 if rows else 0), label_ids


def _ranking(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Label ids from the likeliest on (rows, num_classes)."""
    return np.argsort(-probabilities, axis=1, kind="stable")
