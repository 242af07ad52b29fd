"""A checkpoint judged on a split of a snapshot: scores once written are not computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from vidclf.config import fingerprint
from vidclf.evaluation.scoring import FrameOrder, Progress, ignore_progress, score
from vidclf.models.checkpoint import load, read_card
from vidclf.storage import Store
from vidclf.training.work import open_split

#: Bumped when a change of scoring changes scores.
SCORING_VERSION = 1


@dataclass(frozen=True)
class Question:
    """Which model is asked about which videos, and how."""

    name: str  # what the answer is called
    model_uri: str  # a checkpoint
    store: str  # root URI
    dataset: str
    snapshot_id: str
    split: str
    num_ensemble_views: int
    frame_order: FrameOrder = "stored"
    seed: int = 0

    @property
    def key(self) -> str:
        return f"{self.name}/{self.frame_order}"

    @property
    def scores_path(self) -> str:
        """Where the scores are kept, inside the checkpoint's folder."""
        asked = {**vars(self), "version": SCORING_VERSION}
        for name in ("name", "model_uri", "store"):
            del asked[name]
        return f"evaluations/{self.dataset}-{self.split}-{self.frame_order}-{fingerprint(asked)}.parquet"


def answer(question: Question, device: str = "cpu", on_step: Progress = ignore_progress) -> pa.Table:
    """The scores of every view of every video of the split, kept beside the checkpoint.

    Returns:
        A ``vidclf.evaluation.scoring.SCORES`` table.

    Raises:
        ConfigError: no such checkpoint, snapshot or split, or the model knows none of its classes.
    """
    kept = Store(question.model_uri)
    if kept.exists(question.scores_path):
        return kept.read_table(question.scores_path)
    model, card = load(question.model_uri)
    data = open_split(
        question.store, question.dataset, question.snapshot_id, card.classes, question.split, card.view,
        question.num_ensemble_views,
    )  # fmt: skip
    scores = score(model, data, device, question.frame_order, question.seed, on_step=on_step)
    kept.write_table(question.scores_path, scores)
    return scores


def classes_of(question: Question) -> Sequence[str]:
    """The classes in the order of the model's answers."""
    return read_card(question.model_uri).classes
