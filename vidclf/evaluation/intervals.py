"""Numbers with their uncertainty: how many videos they are of, and a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vidclf.errors import ConfigError

RESAMPLES = 1000
Indices = NDArray[np.int64]


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
class Estimate:
    """A number between 0 and 1, how many things it is of, and its 95 % interval."""

    value: float
    n: int
    low: float
    high: float

    def __str__(self) -> str:
        low, high = f"{100 * self.low:.1f}", f"{100 * self.high:.1f}"
        return f"{100 * self.value:.1f} % (N={self.n}, 95 % CI {low}–{high})"


@dataclass(frozen=True)
class Accuracy(Estimate):
    """A share of right answers, how many were asked, and its 95 % interval (Wilson's)."""

    @classmethod
    def of(cls, successes: int, n: int) -> Accuracy:
        """Raises ConfigError where nothing was asked."""
        if n == 0:
            raise ConfigError("there is no video to judge")
        return cls(successes / n, n, *wilson_interval(successes, n))


def bootstrap(
    statistic: Callable[[Indices], float],
    num_videos: int,
    n: int | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Estimate:
    """``statistic`` of all videos, with the percentile interval of resampled videos.

    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13. Whole videos are drawn, since the views of
    one are not independent. The interval is widened to hold the number itself where a biased statistic (ECE, say)
    would lie outside. Where all resamples agree, as those of a model without a mistake, they say nothing; the interval is
    then Wilson's for as many videos. The same seed gives the same interval.

    Args:
        statistic: of the videos at these indices, which may repeat.
        num_videos: to draw from and to draw.
        n: what the number counts, where that is not videos.
        seed: of the draws.
        resamples: draws.
        confidence: of the interval.
    """
    value = float(statistic(np.arange(num_videos)))
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(0, num_videos, num_videos)) for _ in range(resamples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    if high - low < 1e-12:
        low, high = wilson_interval(min(num_videos, round(value * num_videos)), num_videos, confidence)
    return Estimate(value, num_videos if n is None else n, min(value, float(low)), max(value, float(high)))
