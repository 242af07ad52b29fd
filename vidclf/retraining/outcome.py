"""What a retraining came to, for terminals, Prefect and MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vidclf.retraining.decision import Decision


class Outcome(StrEnum):
    """What became of a decision, or of a run that made none."""

    PROMOTED = "promoted"
    KEPT = "kept"
    NOTHING = "nothing to do"
    OVERTAKEN = "overtaken"  # the champion is another than it was made against
    TAKEN_BACK = "taken back"  # somebody moved the alias away again, or deleted the version; nothing is moved


@dataclass(frozen=True)
class Retrained:
    """What the flow ``retrain`` came to."""

    model_name: str
    dataset: str
    snapshot_id: str
    outcome: Outcome
    sentence: str
    decision: Decision | None = None  # None: nothing was judged
    folder: str = ""  # URI of decision.json and report.html


def rows(decision: Decision) -> list[tuple[str, str]]:
    """Names and numbers, as a table shows them."""
    figures, champion = decision.figures, decision.champion
    found = [("challenger, top-1", f"version {decision.challenger.version}: {figures.challenger_top1}")]
    if champion is not None:
        found.append(("champion, top-1", f"version {champion.version}: {figures.champion_top1}"))
        found.append(("difference", f"{figures.difference:+.1f} points, {decision.criteria.margin:g} wanted"))
        found.append(
            ("right alone", f"challenger {figures.only_challenger} videos, champion {figures.only_champion} videos")
        )
        found.append(("p (exact McNemar, one-sided)", f"{figures.p:.3g}, at most {decision.criteria.alpha:g} wanted"))
    found.append(("guessing the most frequent class", f"{figures.most_frequent:.1%}"))
    found.append(
        (
            f"videos of split {decision.criteria.split}",
            f"{figures.judged} judged of {figures.annotated}: {figures.learned} were learned from,"
            f" {figures.unanswered} could not be asked about",
        )
    )
    return found


def markdown(retrained: Retrained) -> str:
    """The outcome, the figures and what they are of."""
    title = f"**{retrained.model_name}: {retrained.outcome}.** {retrained.sentence}"
    decision = retrained.decision
    if decision is None:
        return f"{title}\n\nDataset {retrained.dataset}, snapshot {retrained.snapshot_id}.\n"
    table = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows(decision))]
    of = (
        f"Dataset {decision.dataset}, snapshot {decision.snapshot_id}; trained because {decision.trained_because};"
        f" decision {decision.decision_id} of {decision.decided_at}: `{retrained.folder}/decision.json`"
    )
    return "\n".join([title, "", *table, "", of, "", *(f"- {notice}" for notice in decision.notices)]) + "\n"


def metrics(decision: Decision) -> dict[str, float]:
    """Every figure, under names that a tracking server takes."""
    figures = decision.figures
    found: dict[str, float | None] = {
        "promoted": float(decision.promote),
        "difference_points": figures.difference,
        "p": figures.p,
        "most_frequent": figures.most_frequent,
        **{
            name: getattr(figures, name)
            for name in ("annotated", "judged", "learned", "unanswered", "only_challenger", "only_champion")
        },
    }
    for name, share in (("challenger", figures.challenger_top1), ("champion", figures.champion_top1)):
        if share is not None:
            found |= {f"{name}_top1": share.value, f"{name}_top1_low": share.low, f"{name}_top1_high": share.high}
    return {name: float(value) for name, value in found.items() if value is not None}


def tags(decision: Decision) -> dict[str, str]:
    """What a version of the registered model is told about the decision on it."""
    figures = decision.figures
    found = {
        "decision_id": decision.decision_id,
        "decided": Outcome.PROMOTED if decision.promote else Outcome.KEPT,
        "decided_because": decision.reason,
        "judged_top1": f"{figures.challenger_top1.value:.6f}",
    }
    if figures.champion_top1 is not None and decision.champion is not None:
        found |= {
            "judged_against": str(decision.champion.version),
            "judged_against_top1": f"{figures.champion_top1.value:.6f}",
            "judged_p": f"{figures.p:.6g}",
        }
    return {name: str(value) for name, value in found.items()}
