"""Pictures: distributions as bars of an SVG, frames as thumbnails. Geometry and bytes; the template writes the marks."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from PIL import Image

from vidclf.report import words

STRIP_FRAMES = 8
STRIP_HEIGHT = 112  # pixels
STRIP_QUALITY = 76

CATEGORIES = 8  # as many different values are shown one by one; more become a histogram, or "others"
BINS = 20
WIDTH, HEIGHT = 360, 168  # of a chart's view box
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 12, 24  # margins of a histogram
_LABELS, _NUMBERS, _LINE = 92, 64, 20  # of rows: where labels end, room for numbers, height of a row


@dataclass(frozen=True)
class Bar:
    """A rectangle, in units of the view box, and the sentence that it stands for."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Text:
    """A label; ``anchor`` is SVG's: start, middle, end."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Chart:
    """A distribution, and what it says in words."""

    title: str
    summary: str
    height: float
    bars: list[Bar]
    texts: list[Text]
    rules: list[float]  # y of horizontal lines, the base first
    left: float = _LEFT


@dataclass(frozen=True)
class Picture:
    """A JPEG and when it is seen."""

    jpeg: bytes
    width: int
    height: int
    seconds: float  # from the clip's first frame


def charts(clips: pa.Table) -> list[Chart]:
    """Duration, bytes, resolution and frame rate of the clips; none where there are none."""
    drawn = []
    for column, title, show in (
        ("duration", "Duration", words.seconds),
        ("bytes", "Size of the file", words.size),
        ("fps", "Frames per second", lambda rate: f"{rate:.4g}"),
    ):
        values = clips[column].drop_null().to_numpy()
        if len(values):
            drawn.append(distribution(title, values, show))
    sizes = clips.select(["width", "height"]).drop_null()
    if len(sizes):
        pairs, counts = np.unique(np.stack([sizes["width"], sizes["height"]]), axis=1, return_counts=True)
        named = [(f"{width} × {height}", int(count)) for (width, height), count in zip(pairs.T, counts, strict=True)]
        drawn.insert(2, rows("Resolution in pixels", _ranked(named), _most_of(named, len(sizes))))
    return drawn


def distribution(title: str, values: np.ndarray, show: Callable[[float], str]) -> Chart:
    """Rows where there are few different values, to two decimals; else a histogram."""
    values = values.astype(np.float64)
    different, counts = np.unique(np.round(values, 2), return_counts=True)
    low, middle, high = (show(float(value)) for value in np.quantile(values, (0.05, 0.5, 0.95)))
    summary = f"Median {middle}; 90 % between {low} and {high}; at most {show(float(values.max()))}."
    if len(different) <= CATEGORIES and title != "Size of the file":
        named = [(show(float(value)), int(count)) for value, count in zip(different, counts, strict=True)]
        return rows(title, named, summary if len(named) > 1 else f"The same for all {len(values):,}, to two decimals.")
    return histogram(title, values, summary, show)


def rows(title: str, named: Sequence[tuple[str, int]], summary: str) -> Chart:
    """A bar to the right for each name, in their order."""
    most = max(count for _, count in named)
    bars, texts = [], []
    for position, (name, count) in enumerate(named):
        top = _TOP + position * _LINE
        width = max((WIDTH - _LABELS - _NUMBERS) * count / most, 1.0)
        bars.append(Bar(_LABELS, top, width, _LINE - 7, f"{name}: {count:,}"))
        texts.append(Text(_LABELS - 8, top + 10.5, name, "end"))
        texts.append(Text(_LABELS + width + 6, top + 10.5, f"{count:,}", "start"))
    return Chart(title, summary, _TOP + len(named) * _LINE, bars, texts, [])


def histogram(title: str, values: np.ndarray, summary: str, show: Callable[[float], str]) -> Chart:
    """Upright bars over a linear scale, or a logarithmic one where the values span orders of magnitude."""
    edges, ticks, is_log = _scale(values)
    counts, _ = np.histogram(np.minimum(values, edges[-1]), edges)
    if values.max() > edges[-1]:
        summary += f" The last bar holds everything above {show(float(edges[-2]))}."
    place = np.log10 if is_log else np.asarray
    begin, end = float(place(edges[0])), float(place(edges[-1]))

    def x_of(value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (float(place(value)) - begin) / (end - begin)

    step = _nice_step(float(counts.max()), 3)
    top = math.ceil(counts.max() / step) * step
    base = HEIGHT - _BOTTOM
    heights = [base - (base - _TOP) * level / top for level in np.arange(0, top + step / 2, step)]
    texts = [
        Text(_LEFT - 6, y + 3.5, words.compact(level * step), "end")
        for level, y in enumerate(heights)
        if level * step >= 1
    ]
    texts += [
        Text(min(x_of(tick), WIDTH - 1), HEIGHT - 8, show(float(tick)), "end" if x_of(tick) > WIDTH - 20 else "middle")
        for tick in ticks
    ]
    bars = []
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        tall = (base - _TOP) * count / top
        if count:
            tall = max(tall, 1.0)  # to be seen at all
            left, right = x_of(low), x_of(high)
            name = f"{show(float(low))} – {show(float(high))}: {count:,}"
            bars.append(Bar(left + 0.5, base - tall, max(right - left - 1, 0.5), tall, name))
    return Chart(title, summary, HEIGHT, bars, texts, heights)


def thumbnails(frames: pa.Array, timestamps: Sequence[float], number: int = STRIP_FRAMES) -> list[Picture]:
    """``number`` of a clip's frames, spread evenly, at most ``STRIP_HEIGHT`` pixels high.

    Raises:
        OSError: a frame is no picture.
    """
    number = min(number, len(frames))
    middles = ((np.arange(number) + 0.5) * len(frames) / number).astype(int).tolist()
    return [_smaller(frames[index].as_py(), timestamps[index]) for index in middles]


def _smaller(jpeg: bytes, at: float) -> Picture:
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        if image.height <= STRIP_HEIGHT:
            return Picture(jpeg, image.width, image.height, at)
        width = max(1, round(image.width * STRIP_HEIGHT / image.height))
        small = image.convert("RGB").resize((width, STRIP_HEIGHT), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=STRIP_QUALITY, optimize=True)
    return Picture(buffer.getvalue(), *small.size, at)


def _scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Edges of the bins, ticks, and whether the scale is logarithmic. A long tail is left to the last bin."""
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    if low > 0 and high / low > 30:
        edges: np.ndarray = np.geomspace(low, high, BINS + 1)
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1, 2, 5) if len(decades) <= 3 else (1,)
        ticks = np.array([step * 10.0**decade for decade in decades for step in steps])
        return edges, ticks[(ticks >= low) & (ticks <= high)], True
    step = _nice_step(high - low, BINS) if high > low else max(abs(low), 1.0) / 10
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    edges = np.arange(first, last + 1) * step
    apart = _nice_step(edges[-1] - edges[0], 4)
    ticks = np.arange(math.ceil(edges[0] / apart - 1e-9), math.floor(edges[-1] / apart + 1e-9) + 1) * apart
    return edges, ticks, False


def _nice_step(span: float, number: int) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten of which at most ``number`` go into ``span``."""
    raw = span / number
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))


def _ranked(named: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The most frequent first; those beyond ``CATEGORIES`` are summed up."""
    ranked = sorted(named, key=lambda item: -item[1])
    if len(ranked) <= CATEGORIES:
        return ranked
    rest = ranked[CATEGORIES - 1 :]
    return [*ranked[: CATEGORIES - 1], (f"{len(rest)} others", sum(count for _, count in rest))]


def _most_of(named: Sequence[tuple[str, int]], total: int) -> str:
    if len(named) == 1:
        return f"The same for all {total:,}."
    name, count = max(named, key=lambda item: item[1])
    return f"{len(named):,} different ones; {words.percent(count, total)} are {name}."
