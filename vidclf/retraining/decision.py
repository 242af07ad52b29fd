"""Champion against challenger: which is better on the same videos, and whether that is enough."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import Field

from vidclf.config import Frozen, RetrainConfig, fingerprint
from vidclf.errors import ConfigError
from vidclf.evaluation.intervals import Accuracy
from vidclf.evaluation.paired import exact_p_of_better


class Contestant(Frozen):
    """A version of the registered model that was judged."""

    version: int
    model: str = Field(description="models:/MODEL_ID of MLflow, which no alias changes")
    snapshot_id: str = Field(description="what it was trained on")


class Criteria(Frozen):
    """By what is judged. Other criteria make another decision."""

    split: str
    num_ensemble_views: int
    num_spatial_crops: int
    margin: float = Field(description="percentage points of top-1")
    alpha: float = Field(description="of the one-sided exact McNemar test")

    @classmethod
    def of(cls, config: RetrainConfig) -> Criteria:
        return cls(**{name: getattr(config, name) for name in cls.model_fields})


class Share(Frozen):
    """A share of the judged videos, with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, number: int, n: int) -> Share:
        found = Accuracy.of(number, n)
        return cls(value=found.value, low=found.low, high=found.high)

    def __str__(self) -> str:
        return f"{self.value:.1%} (95 % CI {100 * self.low:.1f}–{100 * self.high:.1f})"


class Figures(Frozen):
    """What the decision rests on: ``annotated = judged + learned + unanswered``."""

    annotated: int = Field(description="labelled videos of the split")
    judged: int = Field(description="those that count, the same for both")
    learned: int = Field(description="left out: a contestant learned from them")
    unanswered: int = Field(description="left out: there is no clip, or a contestant could not be asked")
    clips_sha256: str = Field(description="of the clip_ids that count, sorted, one a line")
    challenger_top1: Share
    champion_top1: Share | None = None
    most_frequent: float = Field(description="share of the most frequent class: what guessing it would get")
    only_challenger: int = Field(0, description="videos that the challenger alone got right")
    only_champion: int = Field(0, description="videos that the champion alone got right")
    p: float | None = Field(None, description="of McNemar's exact test, one-sided: the challenger is better")

    @property
    def difference(self) -> float | None:
        """Percentage points that the challenger is ahead."""
        if self.champion_top1 is None:
            return None
        return 100 * (self.only_challenger - self.only_champion) / self.judged


class Decision(Frozen):
    """What was decided, once and for all: the file that is written before any alias moves."""

    schema_version: int = 1
    decision_id: str
    model_name: str
    dataset: str
    snapshot_id: str = Field(description="whose split was judged on")
    challenger: Contestant
    champion: Contestant | None
    criteria: Criteria
    figures: Figures
    promote: bool
    reason: str = Field(description="one sentence")
    trained_because: str
    notices: tuple[str, ...] = ()
    decided_at: str = Field(description="ISO 8601, UTC")


@dataclass(frozen=True)
class Answers:
    """What a contestant said: clip_id → whether it was right, without those that it could not be asked about."""

    right: Mapping[str, bool]
    learned: Collection[str] = ()  # clip_ids that it was trained on


def decision_id(
    model_name: str, snapshot_id: str, challenger: Contestant, champion: Contestant | None, criteria: Criteria
) -> str:
    """The same question has the same id, so it is decided once."""
    models = [challenger.model, champion.model if champion else None]
    return fingerprint([model_name, snapshot_id, models, criteria.model_dump(mode="json")], 16)


def weigh(labels: Mapping[str, str], challenger: Answers, champion: Answers | None) -> Figures:
    """Count, on the videos that both could be asked about and neither learned from.

    Args:
        labels: clip_id → label of every annotated video of the split.
        challenger, champion: their answers; no champion: a first run.

    Raises:
        ConfigError: no video is left to judge on.
    """
    both = [challenger] if champion is None else [challenger, champion]
    learned = {clip_id for one in both for clip_id in one.learned} & labels.keys()
    judged = sorted(
        clip_id for clip_id in labels if clip_id not in learned and all(clip_id in one.right for one in both)
    )
    if not judged:
        raise ConfigError(
            f"no video is left to judge on: of {len(labels)} annotated ones the models learned from {len(learned)},"
            " and could not be asked about the others"
        )
    ahead = [(challenger.right[clip_id], champion is not None and champion.right[clip_id]) for clip_id in judged]
    only_challenger = sum(first and not second for first, second in ahead)
    only_champion = sum(second and not first for first, second in ahead)
    return Figures(
        annotated=len(labels),
        judged=len(judged),
        learned=len(learned),
        unanswered=len(labels) - len(judged) - len(learned),
        clips_sha256=hashlib.sha256("\n".join(judged).encode()).hexdigest(),
        challenger_top1=Share.of(sum(first for first, _ in ahead), len(judged)),
        champion_top1=Share.of(sum(second for _, second in ahead), len(judged)) if champion is not None else None,
        most_frequent=max(Counter(labels[clip_id] for clip_id in judged).values()) / len(judged),
        only_challenger=only_challenger if champion is not None else 0,
        only_champion=only_champion,
        p=exact_p_of_better(only_challenger, only_champion) if champion is not None else None,
    )


def conclude(figures: Figures, criteria: Criteria, rolled_back: str | None = None) -> tuple[bool, str]:
    """Whether the challenger is promoted, and a sentence that says why.

    A challenger takes a champion's place where it is ahead by the margin *and* the test says that this is hardly chance.
    Where there is no champion, it must be better than guessing the most frequent class by the lower end of its interval.
    One that somebody went back from is not promoted again by itself.

    Args:
        rolled_back: when somebody went back from the challenger.
    """
    if rolled_back is not None:
        return False, f"The challenger was rolled back on {rolled_back}: only a person promotes it again."
    if figures.champion_top1 is None:
        guess = f"guessing the most frequent class would get {figures.most_frequent:.1%}"
        if figures.challenger_top1.low > figures.most_frequent:
            return True, f"There was no champion, and the challenger gets {figures.challenger_top1}; {guess}."
        return False, f"There is no champion, but the challenger gets {figures.challenger_top1}; {guess}."
    assert figures.p is not None
    assert figures.difference is not None
    ahead = figures.difference >= criteria.margin - 1e-9 and figures.difference > 0
    sure = figures.p <= criteria.alpha
    said = (
        f"{figures.difference:+.1f} points on {figures.judged} videos ({figures.only_challenger} that the challenger"
        f" alone got right, {figures.only_champion} that the champion alone did; p = {figures.p:.2g})"
    )
    if ahead and sure:
        return True, f"The challenger is better: {said}."
    if ahead:
        return False, f"The difference may be chance: {said}, and alpha is {criteria.alpha:g}."
    return False, f"The challenger is not better by {criteria.margin:g} points: {said}."
