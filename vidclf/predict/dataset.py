"""The clips of a dataset, as a model is asked about them: in parts, each of which some process answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vidclf.data.view import View, stored_frames
from vidclf.errors import ClipError, ConfigError
from vidclf.scratch import scratch_folder
from vidclf.snapshot import Snapshot
from vidclf.storage import Store

if TYPE_CHECKING:
    from torch import Tensor

    from vidclf.data.readers import Reader
    from vidclf.predict.classifier import Classifier

#: One row per annotation; of those that name the same clip, each.
PREDICTIONS = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("clip_id", pa.string()),
        pa.field("split", pa.string()),
        pa.field("label", pa.string()),  # the annotation's own
        pa.field("status", pa.string(), nullable=False),  # ok, failed
        pa.field("error_kind", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("predicted", pa.string()),  # the likeliest label
        pa.field("probability", pa.float32()),
        pa.field("labels", pa.list_(pa.string())),  # the likeliest first
        pa.field("probabilities", pa.list_(pa.float32())),
    ]
)
AT_A_TIME = 8  # clips in one batch


@dataclass(frozen=True)
class Clip:
    """A clip to ask about."""

    clip_id: str
    path: str  # relative to the dataset: of its frames, or of its mp4
    row: int


@dataclass(frozen=True)
class Part:
    """Some clips, and the question."""

    store: Store  # the dataset's
    model: str
    clips: tuple[Clip, ...]
    as_stored: bool  # the model was trained on such frames as the dataset holds; else they are taken from the mp4
    top_k: int
    num_views: int
    device: str = "cpu"

    def alone(self) -> list[Part]:
        """Each clip as a part of its own."""
        return [replace(self, clips=(clip,)) for clip in self.clips]


@dataclass(frozen=True)
class Said:
    """What became of one clip."""

    clip_id: str
    labels: tuple[tuple[str, float], ...] = ()
    error_kind: str | None = None
    error_message: str | None = None


def rows_of(snapshot: Snapshot, split: str | None) -> list[dict[str, Any]]:
    """The annotations of a split, or of all of them, with what the manifest says.

    Raises:
        ConfigError: there is none.
    """
    rows: list[dict[str, Any]] = snapshot.clips.to_pylist()
    chosen = [row for row in rows if split is None or row["split"] == split]
    if not chosen:
        existing = ", ".join(f"{name} ({count})" for name, count in sorted(Counter(r["split"] for r in rows).items()))
        raise ConfigError(f"split {split!r} has no annotation; splits that have: {existing or 'none'}")
    return chosen


def fits(snapshot: Snapshot, view: View) -> bool:
    """Whether the snapshot holds the frames that a model was trained on: as many of a clip, and as large."""
    stored, wanted = stored_frames(snapshot.made_by, view.reader), view.stored
    if wanted.quality is None:
        stored = stored.model_copy(update={"quality": None})
    return stored == wanted


def clips_of(rows: Sequence[dict[str, Any]], view: View, as_stored: bool) -> list[Clip]:
    """The clips that can be asked about, each once."""
    from_frames = as_stored and view.reader == "frames"
    path, found = "frames_path" if from_frames else "clip_path", dict[str, Clip]()
    for row in rows:
        if row["status"] != "failed" and row[path]:
            found[row["clip_id"]] = Clip(row["clip_id"], row[path], row["frames_row"] if from_frames else 0)
    return list(found.values())


def answer_part(part: Part) -> list[Said]:
    """Ask about the clips of a part; one that cannot be read costs itself.

    Raises:
        StorageError: the store failed.
        ConfigError: there is no such model.
    """
    classifier = _classifier(part.model, part.device)
    said: dict[str, Said] = {}
    batch: list[tuple[str, Tensor]] = []
    for clip in part.clips:
        try:
            batch.append((clip.clip_id, _views(part, clip, classifier.card.view)))
        except ClipError as error:
            said[clip.clip_id] = Said(clip.clip_id, (), error.kind, str(error))
        if len(batch) == AT_A_TIME or (clip is part.clips[-1] and batch):
            said |= {one.clip_id: one for one in _asked(classifier, batch, part.top_k)}
            batch = []
    return [said[clip.clip_id] for clip in part.clips]


def table_of(rows: Sequence[dict[str, Any]], said: dict[str, Said]) -> pa.Table:
    """``PREDICTIONS``, in the order of ``rows``; an annotation that was never a clip keeps the reason that it has."""
    return pa.Table.from_pylist([_row(row, said.get(row["clip_id"])) for row in rows], schema=PREDICTIONS)


def _row(row: dict[str, Any], said: Said | None) -> dict[str, Any]:
    found = {name: row[name] for name in ("annotation_id", "clip_id", "split", "label")}
    if said is None or said.error_kind is not None:
        kind, message = (said.error_kind, said.error_message) if said else (row["error_kind"], row["error_message"])
        return {**found, "status": "failed", "error_kind": kind or "unreadable", "error_message": message}
    (predicted, probability), *_ = said.labels
    labels, probabilities = zip(*said.labels, strict=True)
    found |= {"status": "ok", "predicted": predicted, "probability": probability}
    return {**found, "labels": list(labels), "probabilities": list(probabilities)}


def _asked(classifier: Classifier, batch: list[tuple[str, Tensor]], top_k: int) -> Iterator[Said]:
    import torch

    probabilities = classifier.probabilities(torch.stack([views for _, views in batch]))
    for (clip_id, _), of_clip in zip(batch, probabilities, strict=True):
        yield Said(clip_id, classifier.ranked(of_clip, clip_id, top_k))


def _views(part: Part, clip: Clip, view: View) -> Tensor:
    """uint8 (V, C, T, H, W), as the evaluation has them."""
    from vidclf.data.dataset import all_views
    from vidclf.data.readers import Entry

    if part.as_stored:
        with _reader(part.store.uri, view.reader).open(Entry(clip.clip_id, -1, 0, clip.path, clip.row)) as frames:
            return all_views(frames, view, part.num_views)
    from vidclf.predict.classifier import as_views
    from vidclf.predict.frames import view_frames

    with scratch_folder() as scratch, part.store.local_copy(clip.path, scratch) as local:
        return as_views(view_frames(local, view, part.num_views), view, part.num_views)


@lru_cache(1)
def _classifier(model: str, device: str) -> Classifier:
    """Loaded once in a process that answers many parts."""
    from vidclf.predict.classifier import load

    return load(model, device)


@lru_cache(2)
def _reader(uri: str, name: str) -> Reader:
    from vidclf.data.dataset import READERS

    return READERS[name](Store(uri))  # type: ignore[index]
