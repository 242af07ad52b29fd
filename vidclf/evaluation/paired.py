"""Two models on the same videos: is the difference more than chance?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vidclf.errors import ConfigError


@dataclass(frozen=True)
class Paired:
    """What two models got right, video by video, and McNemar's test of it."""

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    neither: int
    exact_p: float  # two-sided, exact conditional
    mid_p: float
    holm_p: float  # mid-p, adjusted for the number of pairs that were compared

    @property
    def n(self) -> int:
        """Videos that both answered."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of the first minus that of the second, -1..1."""
        return (self.only_first - self.only_second) / self.n


def mcnemar(only_first: int, only_second: int) -> tuple[float, float]:
    """Two-sided p-values of the exact conditional test and of its mid-p variant.

    McNemar 1947, Psychometrika 12:153-157. Fagerland, Lydersen & Laake 2013, "The McNemar test for binary
    matched-pairs data: mid-p and asymptotic are better than exact conditional", BMC Medical Research Methodology
    13:91, recommend the mid-p, which is less conservative than the exact test and hardly ever too liberal.

    Args:
        only_first: videos that the first model alone got right.
        only_second: those that the second alone got right.
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0, 1.0
    tail, ways = 0, 1  # sum of binomial coefficients up to ``fewer``, and the last of them: exact integers
    for k in range(fewer + 1):
        tail += ways
        if k < fewer:
            ways = ways * (n - k) // (k + 1)
    total = 1 << n
    exact = min(1.0, 2 * tail / total)
    mid = 1 - ways / (2 * total) if only_first == only_second else (2 * tail - ways) / total
    return exact, mid


def exact_p_of_better(only_first: int, only_second: int) -> float:
    """One-sided p-value of McNemar's exact conditional test: how likely the first model would be ahead by so much, or by
    more, were the two equally good.

    Args:
        only_first: videos that the first model alone got right.
        only_second: those that the second alone got right.
    """
    n = only_first + only_second
    return sum(math.comb(n, k) for k in range(only_first, n + 1)) / (1 << n)


def compare_pairs(right: Mapping[str, Mapping[str, bool]]) -> tuple[Paired, ...]:
    """Every two models against each other, on the videos that both answered.

    p-values are adjusted by Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal
    of Statistics 6:65-70.

    Args:
        right: model → clip_id → whether its answer was right.

    Raises:
        ConfigError: two models have no video in common.
    """
    pairs = [_pair(first, second, right[first], right[second]) for first, second in combinations(right, 2)]
    adjusted = holm([pair.mid_p for pair in pairs])
    return tuple(replace(pair, holm_p=p) for pair, p in zip(pairs, adjusted, strict=True))


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _pair(first: str, second: str, of_first: Mapping[str, bool], of_second: Mapping[str, bool]) -> Paired:
    common = [clip_id for clip_id in of_first if clip_id in of_second]
    if not common:
        raise ConfigError(f"{first} and {second} have answered no video in common")
    a: NDArray[np.bool_] = np.array([of_first[clip_id] for clip_id in common])
    b: NDArray[np.bool_] = np.array([of_second[clip_id] for clip_id in common])
    both, only_first, only_second, neither = (int(of.sum()) for of in (a & b, a & ~b, ~a & b, ~a & ~b))
    exact, mid = mcnemar(only_first, only_second)
    return Paired(first, second, both, only_first, only_second, neither, exact, mid, mid)
