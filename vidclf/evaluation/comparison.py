"""Several approaches side by side, judged on the same videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidclf.evaluation.intervals import Accuracy, Estimate
from vidclf.evaluation.paired import Paired

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Approach:
    """One row of the comparison."""

    name: str
    model: str
    video_top1: Accuracy
    clip_top1: Estimate  # of single views; N counts views, its interval resamples videos
    parameters: int
    train_seconds: float | None  # None: it was trained elsewhere
    inference_ms: float  # the model's time for all views of one video
    shuffled_top1: Accuracy | None = None  # of videos whose frames were put out of order
    opposites_top1: Accuracy | None = None  # between the two opposite classes alone
    opposites_shuffled_top1: Accuracy | None = None
    video_top5: Accuracy | None = None
    mean_class_accuracy: Estimate | None = None
    macro_f1: Estimate | None = None
    ece: Estimate | None = None
    top1_if_missing_wrong: Accuracy | None = None
    gflops: float | None = None  # 1e9 multiply-adds for all views of one video


@dataclass(frozen=True)
class Comparison:
    """What was compared on what, the best first."""

    dataset: str
    snapshot_id: str
    split: str
    num_ensemble_views: int
    num_classes: int
    missing: int  # annotated videos of the split that could not be scored
    opposites: tuple[str, str] | None  # two classes that differ by the direction of time alone
    approaches: tuple[Approach, ...]
    num_spatial_crops: int = 1
    pairs: tuple[Paired, ...] = ()  # every two approaches
    report: str = ""  # address of the page; empty: there is none

    @property
    def chance(self) -> float:
        """Accuracy (0..1) of guessing among equally frequent classes."""
        return 1 / self.num_classes


def ranked(approaches: Sequence[Approach]) -> tuple[Approach, ...]:
    """The best first, by video accuracy; the cheaper one of two equals."""
    return tuple(sorted(approaches, key=lambda a: (-a.video_top1.value, a.inference_ms)))


def as_rows(comparison: Comparison) -> list[dict[str, str | float | int | None]]:
    """One flat row of plain values per approach, for tables that sort and filter; what no approach has is left out."""
    rows: list[dict[str, str | float | int | None]] = []
    for approach in comparison.approaches:
        row: dict[str, str | float | int | None] = {}
        for name, value in vars(approach).items():
            if isinstance(value, Estimate):
                row |= {name: value.value, f"{name}_n": value.n, f"{name}_low": value.low, f"{name}_high": value.high}
            elif value is not None:
                row[name] = value
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def cells(comparison: Comparison) -> list[list[str]]:
    """The table as text, header first; the columns of the controls only where there are some."""
    header = ["approach", "video top-1 (95 % CI)", "clip top-1", "parameters", "training", "inference per video"]
    controlled = any(approach.shuffled_top1 for approach in comparison.approaches)
    if controlled:
        header.insert(3, "video top-1, frames shuffled")
    rows = [header]
    for a in comparison.approaches:
        row = [a.name if a.name == a.model else f"{a.name} ({a.model})", short(a.video_top1)]
        row += [f"{100 * a.clip_top1.value:.1f} %"]
        row += [short(a.shuffled_top1) if a.shuffled_top1 else "–"] if controlled else []
        trained = "–" if a.train_seconds is None else f"{a.train_seconds:.0f} s"
        rows.append([*row, f"{a.parameters / 1e6:.2f} M", trained, f"{a.inference_ms:.1f} ms"])
    return rows


def short(accuracy: Estimate) -> str:
    """``95.4 % (90.0–98.0)``; how many videos, the caption says."""
    return f"{100 * accuracy.value:.1f} % ({100 * accuracy.low:.1f}–{100 * accuracy.high:.1f})"


def caption(comparison: Comparison) -> str:
    """What the numbers are of."""
    videos = max(approach.video_top1.n for approach in comparison.approaches)
    return (
        f"{comparison.dataset}, snapshot {comparison.snapshot_id}, split {comparison.split}: {videos} videos, "
        f"{comparison.missing} more are missing; {_views(comparison)}; "
        f"chance is {100 * comparison.chance:.0f} %"
    )


def _views(comparison: Comparison) -> str:
    if comparison.num_spatial_crops == 1:
        return f"{comparison.num_ensemble_views} views each, centre crop"
    views = comparison.num_ensemble_views * comparison.num_spatial_crops
    return f"{comparison.num_ensemble_views} × {comparison.num_spatial_crops} = {views} views each"


def remarks(comparison: Comparison) -> list[str]:
    """What the controls say, a sentence per approach; then what sets every two apart."""
    return [*_of_controls(comparison), *(of_pair(pair) for pair in comparison.pairs)]


def of_pair(pair: Paired) -> str:
    """McNemar's test in a sentence."""
    return (
        f"{pair.first} and {pair.second}: {pair.only_first} videos right by the first alone, {pair.only_second} by the "
        f"second alone, of {pair.n}; McNemar's mid-p {p_value(pair.mid_p)}, over all pairs (Holm) {p_value(pair.holm_p)}"
    )


def p_value(p: float) -> str:
    """``0.039``; ``< 0.0001`` where it is."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}"


def _of_controls(comparison: Comparison) -> list[str]:
    if comparison.opposites is None:
        return []
    first, second = comparison.opposites
    sentences = []
    for a in comparison.approaches:
        if a.opposites_top1 and a.opposites_shuffled_top1:
            sentences.append(
                f"{a.name} tells {first} from {second} in {short(a.opposites_top1)} of {a.opposites_top1.n} videos, "
                f"with the frames shuffled in {short(a.opposites_shuffled_top1)}"
            )
    return sentences


def markdown(comparison: Comparison) -> str:
    """Caption, table and remarks."""
    table = cells(comparison)
    table.insert(1, ["---"] * len(table[0]))
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    notes = [f"- {sentence}" for sentence in remarks(comparison)]
    return "\n".join([caption(comparison), "", *lines, "", *notes]) + "\n"


def figure(comparison: Comparison) -> Figure:
    """Bars of video accuracy with 95 % intervals, the shuffled control beside them, and a line at chance.

    Needs no display; save it with ``figure.savefig``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    approaches = comparison.approaches
    drawing = Figure(figsize=(max(5.0, 1.8 * len(approaches) + 2), 4), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    control = [(i, a.shuffled_top1) for i, a in enumerate(approaches) if a.shuffled_top1]
    width = 0.38 if control else 0.6
    shift = width / 2 if control else 0.0
    _bars(axes, [(i - shift, a.video_top1) for i, a in enumerate(approaches)], width, "#3b6ea5", "frames in order")
    if control:
        _bars(axes, [(i + shift, accuracy) for i, accuracy in control], width, "#c9c9c9", "frames shuffled")
    chance = 100 * comparison.chance
    axes.axhline(chance, color="#a33", linestyle="--", linewidth=1, label=f"chance, {chance:.0f} %")
    axes.set_xticks(range(len(approaches)), [approach.name for approach in approaches])
    axes.set_ylim(0, 105)
    videos = sorted({approach.video_top1.n for approach in approaches})
    axes.set_ylabel(f"video top-1, % (N={', '.join(map(str, videos))}, 95 % CI)")
    axes.set_title(f"{comparison.dataset}, {comparison.split}", fontsize="medium")
    drawing.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return drawing


def cost_figure(comparison: Comparison) -> Figure:
    """Video accuracy with 95 % intervals over multiply-adds per video, on a logarithmic scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    for a in comparison.approaches:
        if a.gflops:
            top1 = a.video_top1
            error = [[100 * (top1.value - top1.low)], [100 * (top1.high - top1.value)]]
            axes.errorbar([a.gflops], [100 * top1.value], yerr=error, fmt="o", capsize=3)
            axes.annotate(a.name, (a.gflops, 100 * top1.value), xytext=(6, 4), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_ylim(0, 105)
    axes.set_xlabel("GFLOPs (multiply-adds) for all views of a video")
    axes.set_ylabel("video top-1, % (95 % CI)")
    axes.set_title(f"{comparison.dataset}, {comparison.split}", fontsize="medium")
    return drawing


def _bars(axes: Any, bars: list[tuple[float, Accuracy]], width: float, color: str, label: str) -> None:
    heights = [100 * accuracy.value for _, accuracy in bars]
    below = [100 * (accuracy.value - accuracy.low) for _, accuracy in bars]
    above = [100 * (accuracy.high - accuracy.value) for _, accuracy in bars]
    places = [place for place, _ in bars]
    axes.bar(places, heights, width, yerr=[below, above], capsize=3, color=color, label=label)
