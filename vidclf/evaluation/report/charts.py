"""Geometry of the charts, in units of their view boxes. The template writes the marks, so that they follow the theme."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from PIL import Image

from vidclf.evaluation.calibration import Calibration
from vidclf.evaluation.comparison import Comparison

SIDE, MARGIN, BELOW = 300.0, 40.0, 36.0
WIDTH, HEIGHT = 560.0, 300.0
LINE, NEAR = 17.0, 150.0  # names of points that are near each other stand in lines
MOST_CELLS = 30  # classes of a confusion matrix that is a table; a larger one is a picture
COLOUR = (47, 115, 145)  # of a full cell, on any ground


@dataclass(frozen=True)
class Bar:
    """A rectangle, a whisker on it, and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    whisker: tuple[float, float]  # y of its upper and lower end
    said: float  # y of the confidence
    title: str


@dataclass(frozen=True)
class Reliability:
    """Accuracy by confidence: bars beside the diagonal on which a calibrated model's would end."""

    bars: list[Bar]
    ticks: list[tuple[float, str]]  # 0..1 along either axis
    side: float = SIDE
    margin: float = MARGIN
    below: float = BELOW


@dataclass(frozen=True)
class Point:
    """A model in the plane of accuracy and cost."""

    x: float
    y: float
    label_y: float  # of its name
    whisker: tuple[float, float]
    name: str
    anchor: str
    title: str


@dataclass(frozen=True)
class Scatter:
    """Accuracy over cost."""

    points: list[Point]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    width: float = WIDTH
    height: float = HEIGHT
    margin: float = MARGIN
    below: float = BELOW


@dataclass(frozen=True)
class Cell:
    """Videos of one class with one answer."""

    number: int
    share: float  # of the class, 0..1


def reliability(found: Calibration) -> Reliability:
    """Bars for the bins that have videos."""

    def y(share: float) -> float:
        return SIDE * (1 - share)

    bars = []
    for one in found.bins:
        title = f"said with {100 * one.low:.0f}–{100 * one.high:.0f} %, {100 * one.confidence:.1f} % in the mean: "
        title += f"right in {one.accuracy}"
        whisker = y(one.accuracy.high), y(one.accuracy.low)
        left, wide = MARGIN + SIDE * one.low + 1, SIDE * (one.high - one.low) - 2
        bars.append(
            Bar(left, y(one.accuracy.value), wide, SIDE * one.accuracy.value, whisker, y(one.confidence), title)
        )
    return Reliability(bars, [(tick / 4, f"{25 * tick}") for tick in range(5)])


def accuracy_and_cost(compared: Comparison) -> Scatter:
    """A point per approach: GFLOPs per video on a logarithmic scale, video accuracy with its interval."""
    costs = [math.log10(a.gflops) for a in compared.approaches if a.gflops]
    if not costs:
        return Scatter([], [], [])
    begin, end = math.floor(min(costs) - 0.05), math.ceil(max(costs) + 0.05)

    def x(gflops: float) -> float:
        return MARGIN + (WIDTH - MARGIN - 16) * (math.log10(gflops) - begin) / (end - begin)

    def y(share: float) -> float:
        return 8 + (HEIGHT - 8) * (1 - share)

    points: list[Point] = []
    for a in sorted(compared.approaches, key=lambda a: -a.video_top1.value):
        if a.gflops:
            anchor = "end" if x(a.gflops) > WIDTH * 0.7 else "start"
            title = f"{a.name}: {a.video_top1}, {a.gflops:.3g} GFLOPs, {a.inference_ms:.1f} ms per video"
            whisker = y(a.video_top1.high), y(a.video_top1.low)
            at = y(a.video_top1.value)
            beside = [p.label_y + LINE for p in points if abs(p.x - x(a.gflops)) < NEAR and p.label_y + LINE > at]
            points.append(Point(x(a.gflops), at, max([at, *beside]), whisker, a.name, anchor, title))
    x_ticks = [(x(10.0**power), f"{10.0**power:g}") for power in range(begin, end + 1)]
    return Scatter(points, x_ticks, [(y(tick / 4), f"{25 * tick}") for tick in range(5)])


def cells(confusion: Sequence[Sequence[int]]) -> list[list[Cell]]:
    """Rows of a confusion matrix, each cell with its share of the row."""
    return [[Cell(number, number / max(sum(row), 1)) for number in row] for row in confusion]


def picture(confusion: Sequence[Sequence[int]]) -> Markup:
    """A confusion matrix of many classes as a PNG: the fuller, the larger the share of its row. A data URI."""
    counts = np.array(confusion, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    pixels = np.empty((*shares.shape, 4), np.uint8)
    pixels[..., :3] = COLOUR
    pixels[..., 3] = np.round(255 * np.sqrt(shares))  # single mistakes of a large class are seen, too
    scale = max(1, round(700 / len(counts)))
    buffer = io.BytesIO()
    image = Image.fromarray(pixels, "RGBA")
    image.resize((scale * len(counts), scale * len(counts)), Image.Resampling.NEAREST).save(
        buffer, "PNG", optimize=True
    )
    return Markup("data:image/png;base64,") + Markup(base64.b64encode(buffer.getvalue()).decode("ascii"))
