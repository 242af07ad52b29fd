"""What is worth looking at: confident mistakes, what two models disagree on, and some videos of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vidclf.evaluation.metrics import arrays, ranking
from vidclf.evaluation.verdict import Verdict
from vidclf.report.media import ClipMedia

SAID = 3  # labels per video


@dataclass(frozen=True)
class Said:
    """What a model said about a video."""

    name: str  # of the model
    labels: tuple[tuple[str, float], ...]  # the likeliest first, with their probabilities
    is_right: bool


@dataclass
class Shown:
    """One video on the page."""

    clip_id: str
    truth: str  # as the dataset calls it
    said: tuple[Said, ...]
    media: ClipMedia | None = field(default=None)  # None: there was no room


@dataclass(frozen=True)
class Confusion:
    """Videos of one class that were taken for another."""

    truth: str
    answer: str
    number: int
    of: int  # videos of the class


def mistakes(verdict: Verdict, number: int) -> list[Shown]:
    """The wrong answers that were given with most confidence."""
    probabilities, truth = arrays(verdict.tally.videos)
    answers, confidence = verdict.tally.answers, probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != truth)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:number]
    return _shown([verdict], [verdict.tally.videos["clip_id"][int(i)].as_py() for i in chosen])


def disagreements(first: Verdict, second: Verdict, number: int) -> list[Shown]:
    """Videos that one of two models got right and the other wrong, those first about which both were surest."""
    sure = {
        verdict.name: dict(
            zip(verdict.tally.videos["clip_id"].to_pylist(), arrays(verdict.tally.videos)[0].max(axis=1), strict=True)
        )
        for verdict in (first, second)
    }
    right = first.right, second.right
    apart = [clip_id for clip_id in right[0] if clip_id in right[1] and right[0][clip_id] != right[1][clip_id]]
    apart.sort(key=lambda clip_id: -min(sure[first.name][clip_id], sure[second.name][clip_id]))
    return _shown([first, second], apart[:number])


def some_videos(verdict: Verdict, number: int, seed: int) -> list[Shown]:
    """Videos drawn by ``seed`` from all that were scored, in the order of their truth."""
    ids = verdict.tally.videos["clip_id"].to_pylist()
    drawn = [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))[:number]]
    return sorted(_shown([verdict], drawn), key=lambda shown: (shown.truth, shown.clip_id))


def confusions(verdict: Verdict, number: int) -> list[Confusion]:
    """The pairs of classes that are taken for each other most often."""
    counts = np.array(verdict.evaluation.confusion)
    support = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:number]
    pairs = [divmod(int(place), len(counts)) for place in order if counts.flat[place]]
    classes = verdict.classes
    return [Confusion(classes[i], classes[j], int(counts[i, j]), int(support[i])) for i, j in pairs]


def manifest_rows(verdict: Verdict, clip_ids: list[str]) -> dict[str, dict[str, Any]]:
    """clip_id → its row of the manifest."""
    place = {clip_id: number for number, clip_id in enumerate(verdict.rows["clip_id"].to_pylist())}
    return {clip_id: verdict.rows.slice(place[clip_id], 1).to_pylist()[0] for clip_id in clip_ids}


def _shown(verdicts: list[Verdict], clip_ids: list[str]) -> list[Shown]:
    rows = manifest_rows(verdicts[0], clip_ids)
    said: list[dict[str, Said]] = [_said(verdict, set(clip_ids)) for verdict in verdicts]
    return [Shown(id_, rows[id_]["label"], tuple(of_model[id_] for of_model in said)) for id_ in clip_ids]


def _said(verdict: Verdict, wanted: set[str]) -> dict[str, Said]:
    videos, found = verdict.tally.videos, {}
    ids = videos["clip_id"].to_pylist()
    rows = [number for number, clip_id in enumerate(ids) if clip_id in wanted]
    if not rows:
        return {}
    probabilities, truth = arrays(videos.take(rows))
    for number, likely, best, label_id in zip(rows, probabilities, ranking(probabilities), truth, strict=True):
        labels = tuple((verdict.classes[i], float(likely[i])) for i in best[:SAID])
        found[ids[number]] = Said(verdict.name, labels, bool(best[0] == label_id))
    return found
