"""A question's answer with all its numbers: what reports and comparisons are made of."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from vidclf.data.view import stored_frames
from vidclf.evaluation.coverage import cover
from vidclf.evaluation.judge import Question, annotated_videos, outcomes_of, read_predictions
from vidclf.evaluation.metrics import Evaluation, Tally, evaluate, tally
from vidclf.models import build
from vidclf.models.checkpoint import ModelCard, read_card
from vidclf.models.cost import count
from vidclf.models.spec import Cost
from vidclf.snapshot import dataset_store, read_snapshot

#: What must be said where Inception's I3D and pytorchvideo's could be taken for each other.
I3D_REMARK = (
    "This I3D is pytorchvideo's: a ResNet-50 with convolutions over time, 8 frames a view, published with 73.27 % top-1 and "
    "90.70 % top-5 on Kinetics-400 (30 views). The I3D of TF-Hub (Carreira and Zisserman 2017) is another network, an "
    "Inception-v1 inflated to 3-D, which saw whole videos of 224×224 pixels: 71.1 % and 89.3 %. Numbers of the one are no "
    "numbers of the other."
)


@dataclass(frozen=True)
class Verdict:
    """What is known of one model on one split."""

    question: Question
    card: ModelCard
    evaluation: Evaluation
    tally: Tally
    rows: pa.Table  # of the manifest: every annotated video of the split or sample
    outcomes: dict[str, str]  # clip_id → "ok", or why it could not be scored
    cost: Cost  # of one view, as it was asked
    notices: tuple[str, ...]  # what a reader should know before the numbers

    @property
    def name(self) -> str:
        return self.question.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @property
    def train_seconds(self) -> float | None:
        return self.card.results.get("train_seconds")

    @property
    def num_views(self) -> int:
        return self.question.num_ensemble_views * self.question.num_spatial_crops

    @property
    def right(self) -> dict[str, bool]:
        """clip_id → whether the answer was right."""
        truth = self.tally.videos["label_id"].to_numpy()
        said = self.tally.answers == truth
        return dict(zip(self.tally.videos["clip_id"].to_pylist(), said.tolist(), strict=True))


def verdict(question: Question, seed: int = 0) -> Verdict:
    """Read a question's finished predictions and count.

    Raises:
        ConfigError: no video could be scored.
    """
    card = read_card(question.model_uri)
    counted = tally(read_predictions(question))
    rows, ends = annotated_videos(question), outcomes_of(question)
    judged = evaluate(counted, card.classes, cover(rows, ends), seed)
    model = build(
        card.model, len(card.classes), card.view.num_frames, card.view.crop_size, head_hidden=card.head_hidden
    )
    cost = count(model, card.view.num_frames, card.view.crop_size)
    return Verdict(question, card, judged, counted, rows, ends, cost, tuple(_notices(question, card, judged)))


def _notices(question: Question, card: ModelCard, judged: Evaluation) -> list[str]:
    notices = [I3D_REMARK] if card.model == "i3d_r50" else []
    if judged.coverage is not None and judged.coverage.unknown_classes:
        some = [f"{label} ({videos})" for label, videos in judged.coverage.unknown_classes.items()]
        more = f" and {len(some) - 10} more" if len(some) > 10 else ""
        notices.append(
            f"{question.name} has no class for {len(some)} labels of this split, their videos are not scored: "
            f"{', '.join(some[:10])}{more}."
        )
    made_by = read_snapshot(dataset_store(question.store, question.dataset), question.snapshot_id).made_by
    stored = stored_frames(made_by, card.view.reader)
    if stored != card.view.stored:
        notices.append(
            f"{question.name} was made for frames stored as {_said(card.view.stored)}, and here they are stored as "
            f"{_said(stored)}: its views lie otherwise in time."
        )
    if card.snapshot_id == question.snapshot_id and question.split == card.train_config.get("data", {}).get(
        "train_split"
    ):
        notices.append(f"{question.name} was trained on this very split: these numbers say nothing about other videos.")
    return notices


def _said(stored: object) -> str:
    values = {name: value for name, value in vars(stored).items() if value is not None}
    return ", ".join(f"{name} {value}" for name, value in values.items())
