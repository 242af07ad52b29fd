"""What a model says about videos, as data, and as people and programs read it. Without torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: Of ``as_csv``: a row for each label of each video, or of each of its windows, and one for a video that failed.
COLUMNS = ("video", "start", "end", "rank", "label", "probability", "error")


@dataclass(frozen=True)
class Prediction:
    """What a model says about one video, or about a part of it."""

    path: str
    labels: tuple[tuple[str, float], ...]  # label and probability, the likeliest first
    start: float | None = None  # seconds of the video; None: its beginning
    end: float | None = None  # None: its end

    @property
    def label(self) -> str:
        return self.labels[0][0]

    @property
    def probability(self) -> float:
        return self.labels[0][1]


@dataclass(frozen=True)
class Answer:
    """What became of one video that was asked about: predictions, or an error."""

    video: str  # as it was asked for
    predictions: tuple[Prediction, ...] = ()  # one; or one for each window, in order of time
    error_kind: str | None = None
    error: str | None = None
    files: tuple[str, ...] = ()  # that were written and kept: cut, timeline, folder of frames

    @property
    def ok(self) -> bool:
        return self.error is None


def lines(answer: Answer) -> list[str]:
    """For a terminal: one line for each prediction, the likeliest label first."""
    found = []
    for said in answer.predictions:
        named = ", ".join(f"{label} {probability:.1%}" for label, probability in said.labels)
        span = f"  {_span(said)}" if said.start is not None or said.end is not None else ""
        found.append(f"{answer.video}{span}  {named}")
    return found


def table(answer: Answer) -> list[str]:
    """For a terminal: the video, and below it its labels over time in columns."""
    spans = [_span(said) for said in answer.predictions]
    width = max(len(span) for span in spans)
    label_width = max(len(said.label) for said in answer.predictions)
    rows = [
        f"  {span:>{width}}  {said.label:<{label_width}}  {said.probability:>6.1%}"
        for span, said in zip(spans, answer.predictions, strict=True)
    ]
    return [answer.video, *rows]


def as_json(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """For programs: one object for each video."""
    return [_object(answer) for answer in answers]


def as_csv(answers: Iterable[Answer]) -> str:
    """For spreadsheets: ``COLUMNS``, a row for each label."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    for answer in answers:
        if not answer.ok:
            writer.writerow([answer.video, "", "", "", "", "", answer.error])
        for said in answer.predictions:
            for rank, (label, probability) in enumerate(said.labels, start=1):
                writer.writerow([answer.video, said.start, said.end, rank, label, f"{probability:.6f}", ""])
    return sink.getvalue()


def _span(said: Prediction) -> str:
    return f"{said.start or 0:.1f}–{'end' if said.end is None else f'{said.end:.1f} s'}"


def _object(answer: Answer) -> dict[str, Any]:
    if not answer.ok:
        return {"video": answer.video, "error": {"kind": answer.error_kind, "message": answer.error}}
    said = [
        {
            "start": one.start,
            "end": one.end,
            "labels": [{"label": label, "probability": round(score, 6)} for label, score in one.labels],
        }
        for one in answer.predictions
    ]
    found: dict[str, Any] = {"video": answer.video, "predictions": said}
    return {**found, "files": list(answer.files)} if answer.files else found
