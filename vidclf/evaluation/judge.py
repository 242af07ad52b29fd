"""A model asked about a split of a snapshot. What it said is kept beside its checkpoint, and never asked again.

While it is being asked, finished parts lie in a folder; they become one Parquet file in the end. A part is written whole
or not at all, so an evaluation that was killed goes on with the clips that are in no part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from vidclf.config import fingerprint
from vidclf.errors import ConfigError
from vidclf.evaluation.batching import views_that_fit
from vidclf.evaluation.clips import EvaluationClips
from vidclf.evaluation.coverage import annotated, outcomes
from vidclf.evaluation.labels import match_labels
from vidclf.evaluation.scoring import (
    OPEN,
    PREDICTIONS,
    FrameOrder,
    Progress,
    Scorer,
    failed_rows,
    ignore_progress,
)
from vidclf.models.checkpoint import load, read_card
from vidclf.scratch import scratch_folder
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store
from vidclf.takedown import removed_ids

#: Bumped when a change of scoring changes scores.
SCORING_VERSION = 2
BLOCK_SIZE = 32  # clips that are settled together


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
    num_spatial_crops: int = 1
    frame_order: FrameOrder = "stored"
    seed: int = 0  # of the shuffled order and of the sample
    sample: int | None = None  # videos; None: all

    @property
    def key(self) -> str:
        return f"{self.name}/{self.frame_order}"

    @property
    def folder(self) -> str:
        """Everything about this question, inside the checkpoint's folder."""
        asked: dict[str, Any] = {**vars(self), "version": SCORING_VERSION}
        for name in ("name", "model_uri", "store"):
            del asked[name]
        if self.frame_order == "stored" and self.sample is None:
            del asked["seed"]
        return f"evaluations/{self.dataset}-{self.split}-{self.frame_order}-{fingerprint(asked)}"

    @property
    def predictions_path(self) -> str:
        """The finished predictions, inside the checkpoint's folder."""
        return f"{self.folder}/predictions.parquet"

    @property
    def parts_path(self) -> str:
        return f"{self.folder}/parts"


@dataclass(frozen=True)
class Block:
    """Clips that are settled together, as indices into ``open_clips``."""

    question: Question
    indices: tuple[int, ...]

    @property
    def path(self) -> str:
        name = f"{self.indices[0]:08d}-{self.indices[-1]:08d}-{fingerprint(self.indices, 8)}"
        return f"{self.question.parts_path}/{name}.parquet"

    def halves(self) -> tuple[Block, Block]:
        middle = len(self.indices) // 2
        return Block(self.question, self.indices[:middle]), Block(self.question, self.indices[middle:])


def answer(
    question: Question,
    device: torch.device | str = "cpu",
    on_step: Progress = ignore_progress,
    block_size: int = BLOCK_SIZE,
) -> pa.Table:
    """Ask in this process, and keep the answer beside the checkpoint: a ``PREDICTIONS`` table.

    Raises:
        ConfigError: no such checkpoint, snapshot or split, or the model knows none of its classes.
    """
    jury, blocks = Jury(device), open_blocks(question, block_size)
    total, done = sum(len(block.indices) for block in blocks), 0
    for block in blocks:
        jury.settle(block)
        done += len(block.indices)
        on_step(done, total, "score")
    finish(question)
    return pa.concat_tables(read_predictions(question))


class Jury:
    """Settles blocks. Keeps the last model and its clips at hand, so blocks of one question should come together.

    Args:
        device: where to compute.
        memory_bytes: that a forward pass may take, see ``views_that_fit``.
        batch_views: views of a forward pass; None: as many as fit.
    """

    def __init__(
        self, device: torch.device | str = "cpu", memory_bytes: int | None = None, batch_views: int | None = None
    ):
        self.device, self.memory_bytes, self.batch_views = torch.device(device), memory_bytes, batch_views
        self._asked: tuple[Question, Scorer, EvaluationClips] | None = None

    def settle(self, block: Block) -> tuple[int, int]:
        """Score a block's clips and write its part.

        Returns:
            How many clips it has, and how many of them could not be scored.
        """
        scorer, data = self._ask(block.question)
        table = scorer.score(data, block.indices)
        Store(block.question.model_uri).write_table(block.path, table, compression="zstd")
        failed = pc.sum(pc.and_(pc.equal(table["view"], 0), pc.not_equal(table["status"], "ok"))).as_py() or 0
        return len(block.indices), int(failed)

    def _ask(self, question: Question) -> tuple[Scorer, EvaluationClips]:
        if self._asked is None or self._asked[0] != question:
            self._asked = None  # before the next model takes its place
            model, card = load(question.model_uri)
            model = model.to(self.device)
            views = self.batch_views or views_that_fit(model, card.view, self.device, self.memory_bytes)
            scorer = Scorer(model, self.device, question.frame_order, question.seed, views)
            self._asked = question, scorer, open_clips(question)
        return self._asked[1:]


def open_clips(question: Question) -> EvaluationClips:
    """The videos of a question that can be scored: ok, of a class that the model knows, in the sample.

    Raises:
        ConfigError: there are none.
    """
    card, data = read_card(question.model_uri), dataset_store(question.store, question.dataset)
    rows = annotated_videos(question)
    known = _known(rows, question)
    rows = rows.filter(pc.is_in(rows["label"], pa.array(list(known), pa.string())))
    labels = pa.array([known[label] for label in rows["label"].to_pylist()], pa.string())
    rows = rows.set_column(rows.column_names.index("label"), rows.schema.field("label"), labels)
    return EvaluationClips(
        rows, data, card.classes, question.split, card.view,
        question.num_ensemble_views, question.num_spatial_crops,
    )  # fmt: skip


def open_blocks(question: Question, block_size: int = BLOCK_SIZE) -> list[Block]:
    """What is left to do: the clips that no part and no finished file settles."""
    done = settled(question)
    left = [index for index, entry in enumerate(open_clips(question).entries) if entry.clip_id not in done]
    return [Block(question, tuple(left[begin : begin + block_size])) for begin in range(0, len(left), block_size)]


def settled(question: Question) -> set[str]:
    """clip_ids that need not be asked about again. What failed for reasons that may pass is none of them."""
    return {clip_id for clip_id, status in statuses(question).items() if status not in OPEN}


def statuses(question: Question) -> dict[str, str]:
    """clip_id → how its scoring ended, of all that was asked."""
    store = Store(question.model_uri)
    return {clip_id: status for clip_id, (status, _) in _last_words(store, _paths(store, question)).items()}


def give_up(block: Block, kind: str, message: str) -> None:
    """Write rows that say that a block's clips could not be scored."""
    data = open_clips(block.question)
    rows = [row for index in block.indices for row in failed_rows(data, index, kind, message)]
    Store(block.question.model_uri).write_table(block.path, pa.Table.from_pylist(rows, schema=PREDICTIONS))


def finish(question: Question) -> None:
    """Put the parts together: one file, a row group per part. Nothing to do where there are none."""
    store = Store(question.model_uri)
    parts = store.files(question.parts_path, ".parquet")
    if not parts:
        return
    paths = _paths(store, question)
    last = _last_words(store, paths)
    with scratch_folder() as folder:
        local = folder / "predictions.parquet"
        with pq.ParquetWriter(local, PREDICTIONS, compression="zstd") as writer:
            for number, table in enumerate(store.read_tables(paths)):
                kept = [last[clip_id][1] == number for clip_id in table["clip_id"].to_pylist()]
                if any(kept):
                    writer.write_table(table.filter(pa.array(kept)))
        store.put_file(local, question.predictions_path)
    store.delete_folder(question.parts_path)


def read_predictions(question: Question) -> Iterator[pa.Table]:
    """The finished predictions, a table at a time with whole videos each."""
    store = Store(question.model_uri)
    with store.fs.open(store.full(question.predictions_path), "rb") as file:
        parquet = pq.ParquetFile(file)
        for group in range(parquet.num_row_groups):
            yield parquet.read_row_group(group, use_threads=False)


def outcomes_of(question: Question) -> dict[str, str]:
    """clip_id → "ok" or why not, of every annotated video of the split, or of the sample."""
    rows = annotated_videos(question)
    removed = removed_ids(dataset_store(question.store, question.dataset))
    return outcomes(rows, _known(rows, question), removed, statuses(question))


def annotated_videos(question: Question) -> pa.Table:
    """Rows of the manifest: the labelled videos that are asked about, whether there is a clip or not."""
    clips = read_snapshot(dataset_store(question.store, question.dataset), question.snapshot_id).clips
    return annotated(clips, question.split, question.sample, question.seed)


def classes_of(question: Question) -> Sequence[str]:
    """The classes in the order of the model's answers."""
    return read_card(question.model_uri).classes


def _known(rows: pa.Table, question: Question) -> dict[str, str]:
    """Label of the dataset → class of the model."""
    if not len(rows):
        raise ConfigError(f"split {question.split!r} of {question.dataset} has no labelled video")
    return match_labels(sorted(rows["label"].unique().to_pylist()), classes_of(question)).known


def _paths(store: Store, question: Question) -> list[str]:
    """The finished file, then the parts that came after it."""
    done = [question.predictions_path] if store.exists(question.predictions_path) else []
    return done + store.files(question.parts_path, ".parquet")


def _last_words(store: Store, paths: Sequence[str]) -> dict[str, tuple[str, int]]:
    """clip_id → how its scoring ended, and the number of the path that says so: the last one that settles it."""
    found: dict[str, tuple[str, int]] = {}
    for number, table in enumerate(store.read_tables(paths, ["clip_id", "status"])):
        for clip_id, status in zip(table["clip_id"].to_pylist(), table["status"].to_pylist(), strict=True):
            if clip_id not in found or found[clip_id][0] in OPEN or status not in OPEN:
                found[clip_id] = status, number
    return found
