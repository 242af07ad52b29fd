"""Labels over time as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

from vidclf.predict.answers import Prediction

MOST_LABELS = 10  # with a line of their own; the others stay unnamed


def timeline_png(title: str, predictions: Sequence[Prediction]) -> bytes:
    """A PNG: above, the likeliest label of each window as a coloured band; below, the probabilities of these labels.

    Args:
        title: what is shown.
        predictions: of windows, in order of time; with their start and end.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    labels = _longest_first(predictions)
    shown = labels[:MOST_LABELS]
    colours = {label: colormaps["tab10"](number) for number, label in enumerate(shown)}
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    band, lines = figure.subplots(2, 1, sharex=True, height_ratios=[1, 5])
    for said in predictions:
        left, right = _span(said)
        band.axvspan(left, right, color=colours.get(said.label, "lightgrey"), linewidth=0)
    band.set(yticks=[], xlim=(_span(predictions[0])[0], _span(predictions[-1])[1]))
    band.set_title(title, loc="left", fontsize=10)
    edges = [_span(said)[0] for said in predictions] + [_span(predictions[-1])[1]]
    for label in shown:
        heights = [dict(said.labels).get(label, 0.0) for said in predictions]
        lines.stairs(heights, edges, baseline=None, color=colours[label], linewidth=2, label=_short(label))
    lines.set(xlabel="seconds", ylabel="probability", ylim=(0, 1.02))
    lines.grid(alpha=0.3)
    lines.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110)
    return sink.getvalue()


def _longest_first(predictions: Sequence[Prediction]) -> list[str]:
    """The labels that are the likeliest somewhere, by the time for which they are."""
    seconds: dict[str, float] = {}
    for said in predictions:
        left, right = _span(said)
        seconds[said.label] = seconds.get(said.label, 0.0) + right - left
    return sorted(seconds, key=lambda label: -seconds[label])


def _span(said: Prediction) -> tuple[float, float]:
    assert said.start is not None
    assert said.end is not None
    return said.start, said.end


def _short(label: str) -> str:
    """A label as matplotlib may show it: neither a formula nor a hidden line."""
    text = label if len(label) <= 40 else f"{label[:39]}…"
    return text.replace("$", r"\$").lstrip("_") or "_"
