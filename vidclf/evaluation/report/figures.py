"""The same charts as pictures, for MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vidclf.evaluation.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS = 60  # classes; of more, the worst


def figures(verdict: Verdict) -> dict[str, Figure]:
    """File name → figure: confusion matrix, precision and recall per class, reliability. Needs no display."""
    return {
        "confusion.png": _confusion(verdict),
        "per_class.png": _per_class(verdict),
        "reliability.png": _reliability(verdict),
    }


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing, drawing.add_subplot()


def _confusion(verdict: Verdict) -> Figure:
    counts = np.array(verdict.evaluation.confusion, dtype=np.float64)
    few = len(counts) <= 30
    side = min(12.0, 3 + 0.4 * len(counts))
    drawing, axes = _figure(side, side)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if few:
        ticks = range(len(counts))
        axes.set_xticks(ticks, verdict.classes, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(ticks, verdict.classes, fontsize=8)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="said", ylabel="true", title=f"{verdict.name}: videos by class, shares of a row")
    return drawing


def _per_class(verdict: Verdict) -> Figure:
    scores = sorted(verdict.evaluation.per_class.items(), key=lambda item: item[1].f1)[:MOST_BARS]
    drawing, axes = _figure(7, 1.2 + 0.32 * len(scores))
    for shift, name, colour in ((0.2, "recall", "#2f7391"), (-0.2, "precision", "#b84d27")):
        found = [(place + shift, getattr(score, name)) for place, (_, score) in enumerate(scores)]
        bars = [(place, share) for place, share in found if share is not None]
        errors = [[100 * (s.value - s.low) for _, s in bars], [100 * (s.high - s.value) for _, s in bars]]
        places, widths = [place for place, _ in bars], [100 * s.value for _, s in bars]
        axes.barh(places, widths, 0.36, xerr=errors, capsize=2, color=colour, label=name)
    names = [f"{name} (N={score.recall.n if score.recall else 0})" for name, score in scores]
    axes.set_yticks(range(len(scores)), names, fontsize=8)
    axes.set(xlim=(0, 105), xlabel="%, 95 % CI", title=f"{verdict.name}: per class, the worst first")
    axes.invert_yaxis()
    axes.legend(loc="lower right", fontsize=8)
    return drawing


def _reliability(verdict: Verdict) -> Figure:
    found = verdict.evaluation.calibration
    drawing, axes = _figure(4.6, 4.6)
    for one in found.bins:
        share = one.accuracy
        error = [[100 * (share.value - share.low)], [100 * (share.high - share.value)]]
        middle, width = 50 * (one.low + one.high), 96 * (one.high - one.low)
        axes.bar(middle, 100 * share.value, width, yerr=error, capsize=2, color="#2f7391")
    axes.plot([0, 100], [0, 100], linestyle="--", color="#888", linewidth=1)
    axes.set(xlim=(0, 100), ylim=(0, 105), xlabel="confidence, %", ylabel="videos that are right, % (95 % CI)")
    axes.set_title(f"{verdict.name}: ECE {100 * found.ece.value:.1f} %, N={found.ece.n}", fontsize="medium")
    return drawing
