"""Whether a model's probabilities mean what they say: of all answers given with 80 %, are 80 % right?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidclf.evaluation.intervals import RESAMPLES, Accuracy, Estimate, bootstrap

NUM_BINS = 15


@dataclass(frozen=True)
class Bin:
    """The videos whose answer was given with a probability in ``(low, high]``; the first bin holds 0, too."""

    low: float
    high: float
    confidence: float  # mean probability of the answers
    accuracy: Accuracy  # share of them that is right, and how many they are


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error, and the bins that have videos."""

    ece: Estimate
    bins: tuple[Bin, ...]
    num_bins: int


def calibration(
    confidences: NDArray[np.floating],
    right: NDArray[np.bool_],
    num_bins: int = NUM_BINS,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Calibration:
    """How far confidence and accuracy are apart, over ``num_bins`` bins of equal width.

    Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599,
    equation 3, with their 15 bins. Of few videos it comes out too high, since accuracy in a bin is uncertain.

    Args:
        confidences: probability of each video's answer, (N,).
        right: whether it is right, (N,).
    """
    place = bin_of(confidences, num_bins)
    gaps = confidences.astype(np.float64) - right

    def error(videos: NDArray[np.int64]) -> float:
        sums = np.bincount(place[videos], weights=gaps[videos], minlength=num_bins)
        return float(np.abs(sums).sum() / len(videos))  # n_b / N times a mean over n_b

    bins = []
    for number in range(num_bins):
        inside = place == number
        if inside.any():
            accuracy = Accuracy.of(int(right[inside].sum()), int(inside.sum()))
            confidence = float(confidences[inside].astype(np.float64).mean())
            bins.append(Bin(number / num_bins, (number + 1) / num_bins, confidence, accuracy))
    return Calibration(bootstrap(error, len(right), seed=seed, resamples=resamples), tuple(bins), num_bins)


def bin_of(confidences: NDArray[np.floating], num_bins: int) -> NDArray[np.int64]:
    """The number of the bin ``(b / num_bins, (b + 1) / num_bins]`` that each falls into."""
    return np.clip(np.ceil(confidences.astype(np.float64) * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
