"""An evaluation in a few lines, for terminals and for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidclf.evaluation.comparison import short
from vidclf.evaluation.intervals import Estimate
from vidclf.evaluation.metrics import Evaluation

if TYPE_CHECKING:
    from vidclf.evaluation.verdict import Verdict  # imports torch


@dataclass(frozen=True)
class Evaluated:
    """What the flow ``evaluate`` came to, and where its files are."""

    name: str
    caption: str
    numbers: dict[str, Estimate]  # in words → number
    notices: tuple[str, ...]
    folder: str  # URI of predictions.parquet, answers.parquet, answers.csv, evaluation.json, report.html, gallery.html


def evaluated(verdict: Verdict) -> Evaluated:
    """The short version of a verdict."""
    question = verdict.question
    return Evaluated(
        question.name,
        caption(verdict),
        numbers(verdict.evaluation),
        (*missing(verdict.evaluation), *verdict.notices),
        f"{question.model_uri}/{question.folder}",
    )


def numbers(judged: Evaluation) -> dict[str, Estimate]:
    """Every number that is one, in words, in the order of a report."""
    found: dict[str, Estimate | None] = {
        "video top-1": judged.video_top1,
        "video top-5": judged.video_top5,
        "clip top-1": judged.clip_top1,
        "clip top-5": judged.clip_top5,
        "mean class accuracy": judged.mean_class_accuracy,
        "macro F1": judged.macro_f1,
        "calibration error (ECE)": judged.calibration.ece,
        "video top-1 if the missing were wrong": judged.top1_if_missing_wrong,
    }
    return {name: number for name, number in found.items() if number is not None}


def metrics(judged: Evaluation) -> dict[str, float]:
    """The same under names that a tracking server takes, with the ends of the intervals."""
    logged: dict[str, float] = {}
    for name, number in numbers(judged).items():
        key = name.replace("(ECE)", "").strip().replace(" ", "_").replace("-", "")
        logged |= {key: number.value, f"{key}_low": number.low, f"{key}_high": number.high, f"{key}_n": number.n}
    return logged


def missing(judged: Evaluation) -> list[str]:
    """How many annotated videos could not be scored, and why; nothing where all were."""
    covered = judged.coverage
    if covered is None or not covered.unscored:
        return []
    reasons = ", ".join(f"{number} {reason}" for reason, number in covered.reasons.items())
    return [f"{covered.unscored} of {covered.annotated} annotated videos could not be scored: {reasons}."]


def caption(verdict: Verdict) -> str:
    """What the numbers are of."""
    question, times, crops = verdict.question, verdict.question.num_ensemble_views, verdict.question.num_spatial_crops
    views = f"{times} views each, centre crop" if crops == 1 else f"{times} × {crops} = {verdict.num_views} views each"
    sample = "" if question.sample is None else f", a sample of {question.sample} drawn by seed {question.seed}"
    view = verdict.card.view
    return (
        f"{verdict.card.model} on {question.dataset}, snapshot {question.snapshot_id}, split {question.split}{sample}: "
        f"{verdict.evaluation.videos} videos, {views}, "
        f"{view.num_frames} frames × {view.sampling_rate} of {view.crop_size}×{view.crop_size} pixels"
    )


def markdown(short_version: Evaluated) -> str:
    """Caption, table and notices."""
    rows = ["| | | N |", "| --- | --- | --- |"]
    rows += [f"| {name} | {short(number)} | {number.n:,} |" for name, number in short_version.numbers.items()]
    notes = [f"- {notice}" for notice in short_version.notices]
    return "\n".join([short_version.caption, "", *rows, "", *notes]) + "\n"


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Everything that was counted, for machines."""
    question = vars(verdict.question) | {"classes": list(verdict.classes)}
    return {
        "question": question,
        "cost": vars(verdict.cost),
        **verdict.evaluation.as_dict(),
        "notices": verdict.notices,
    }
