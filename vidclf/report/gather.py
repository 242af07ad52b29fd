"""The numbers of a report, counted by columns: a manifest of 644 thousand rows is never turned into objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidclf.errors import CLIP_ERRORS, AnnotationError
from vidclf.manifest import NOT_DONE
from vidclf.report.accounts import STAGES, Accounts
from vidclf.snapshot import Snapshot

SPLIT_ORDER = ("train", "val", "test")
UNLABELLED = "(unlabelled)"
LISTED_FAILURES = 500  # the rest is in the manifest
LISTED_CLIPS = 10  # slowest, largest

_ROW = "row"
_COUNTED = ["annotation_id", "clip_id", "label", "split", "status", "error_kind", "error_message"]
_COUNTED += ["num_variants", "bytes", "width", "height", "fps", "duration"]
_OTHER_KINDS = {
    AnnotationError.kind: "The annotation makes no sense.",
    NOT_DONE: "The run ended before its turn came.",
}


@dataclass(frozen=True)
class Totals:
    """``annotations = ok + failed + unlabelled``; everything else is counted once per clip that was made."""

    annotations: int
    ok: int
    failed: int
    unlabelled: int
    classes: int
    clips: int  # files: annotations that are ok or unlabelled, one annotated twice counted once
    seconds: float  # of video
    bytes: int
    variants: int


@dataclass
class Count:
    """Annotations that became clips, and those that did not."""

    ok: int = 0
    failed: int = 0

    @property
    def all(self) -> int:
        return self.ok + self.failed


@dataclass
class LabelCount:
    """One label, in all and by split."""

    label: str
    total: Count = field(default_factory=Count)
    splits: dict[str, Count] = field(default_factory=dict)


@dataclass(frozen=True)
class FailureKind:
    """All failures of one kind, and the first of them."""

    kind: str
    number: int
    is_open: bool  # the next run takes them up
    meaning: str
    example: str  # annotation_id
    message: str


@dataclass
class SourceCount:
    """What a source, or several that were asked in turn, came to."""

    source: str
    count: Count = field(default_factory=Count)
    kinds: dict[str, int] = field(default_factory=dict)
    example: str = ""  # annotation_id of the first failure
    message: str = ""


@dataclass(frozen=True)
class ClassClips:
    """The clips of a label to look at: rows of the manifest, those of one with variants first."""

    label: str
    clips: list[dict[str, Any]]


@dataclass(frozen=True)
class Facts:
    """All that a report says in words and numbers."""

    totals: Totals
    splits: list[str]
    by_split: dict[str, Count]
    labels: list[LabelCount]
    kinds: list[FailureKind]
    sources: list[SourceCount]
    failed: list[dict[str, Any]]  # the first ``LISTED_FAILURES``
    slowest: list[dict[str, Any]]
    largest: list[dict[str, Any]]
    made: pa.Table  # the rows that have a clip, each clip once: what the distributions are of
    finished_at: datetime | None  # when the last of the clips was settled


def gather(snapshot: Snapshot, accounts: Accounts) -> Facts:
    """Count everything that a report shows."""
    rows = snapshot.clips.select(_COUNTED).append_column(_ROW, pa.array(np.arange(len(snapshot.clips))))
    for name in accounts.rows.column_names:
        rows = rows.append_column(name, accounts.rows[name])
    clips = made(rows)
    labels, splits = _by_label(rows)
    by_split = {split: _summed(label.splits[split] for label in labels if split in label.splits) for split in splits}
    return Facts(
        _totals(snapshot, clips),
        splits,
        by_split,
        labels,
        _by_kind(rows),
        _by_source(rows),
        _listed(rows.filter(pc.equal(rows["status"], "failed")).slice(0, LISTED_FAILURES)),
        _top(once(rows, ["clip_id"]), "seconds"),
        _top(clips, "bytes"),
        clips,
        accounts.finished_at,
    )


def made(rows: pa.Table) -> pa.Table:
    """The rows that have a clip, each clip once."""
    return once(rows.filter(pc.not_equal(rows["status"], "failed")), ["clip_id"])


def once(rows: pa.Table, keys: list[str]) -> pa.Table:
    """The first row of every combination of ``keys``, in order."""
    numbered = rows.select(keys).append_column(_ROW, pa.array(np.arange(len(rows))))
    first = numbered.group_by(keys).aggregate([(_ROW, "min")])[f"{_ROW}_min"]
    return rows if len(first) == len(rows) else rows.take(pa.array(np.sort(first.to_numpy())))


def choose_clips(snapshot: Snapshot, clips_per_class: int, removed: Collection[str]) -> list[ClassClips]:
    """``clips_per_class`` clips of every label, by their hash, so that the same are chosen wherever the dataset lies.

    The first one has augmented variants where any of the label has. ``removed`` clips are not shown.
    """
    keys = ["label", "sha256", "clip_id"]
    rows = snapshot.clips.select([*keys, "num_variants"]).append_column(_ROW, pa.array(np.arange(len(snapshot.clips))))
    rows = rows.filter(pc.not_equal(snapshot.clips["status"], "failed"))
    rows = rows.filter(pc.invert(pc.is_in(rows["clip_id"], pa.array(removed, pa.string()))))
    rows = once(rows, ["label", "clip_id"]).sort_by([(name, "ascending") for name in keys])
    varied = _first_of_each(rows.filter(pc.greater(pc.fill_null(rows["num_variants"], 0), 0)), 1)
    wanted = [*varied[_ROW].to_pylist(), *_first_of_each(rows, clips_per_class)[_ROW].to_pylist()]
    chosen: dict[str | None, dict[str, dict[str, Any]]] = {}
    for row in snapshot.clips.take(pa.array(wanted, pa.int64())).to_pylist():
        clips = chosen.setdefault(row["label"], {})
        if row["clip_id"] in clips or len(clips) < clips_per_class:
            clips.setdefault(row["clip_id"], row)
    shown = [label for label in sorted(chosen, key=_label_key) if chosen[label]]
    return [ClassClips(label or UNLABELLED, list(chosen[label].values())) for label in shown]


def remedies(kinds: Iterable[FailureKind]) -> list[str]:
    """What can be done about the failures, a sentence each; none where nothing can."""
    kinds = list(kinds)
    still_open = [f"{kind.number:,} {kind.kind}" for kind in kinds if kind.is_open]
    gone = sum(kind.number for kind in kinds if kind.kind == "gone")
    said = []
    if still_open:
        said.append(f"Open ({', '.join(still_open)}): run the same again; it takes up these and nothing else.")
    if gone:
        said.append(f"Gone ({gone:,}): settled; --retry gone asks for them once more.")
    if any(not kind.is_open and kind.kind in CLIP_ERRORS.keys() - {"gone", "removed"} for kind in kinds):
        said.append("The other permanent ones would fail again; --retry KIND takes them up all the same.")
    return said


def _totals(snapshot: Snapshot, clips: pa.Table) -> Totals:
    status = dict.fromkeys(("ok", "failed", "unlabelled"), 0) | _value_counts(snapshot.clips["status"])
    return Totals(
        annotations=len(snapshot.clips),
        ok=status["ok"],
        failed=status["failed"],
        unlabelled=status["unlabelled"],
        classes=len(snapshot.classes),
        clips=len(clips),
        seconds=pc.sum(clips["duration"]).as_py() or 0.0,
        bytes=pc.sum(clips["bytes"]).as_py() or 0,
        variants=pc.sum(clips["num_variants"]).as_py() or 0,
    )


def _by_label(rows: pa.Table) -> tuple[list[LabelCount], list[str]]:
    labels: dict[str | None, LabelCount] = {}
    splits: set[str] = set()
    for row in rows.group_by(["label", "split", "status"]).aggregate([([], "count_all")]).to_pylist():
        label = labels.setdefault(row["label"], LabelCount(row["label"] or UNLABELLED))
        splits.add(row["split"])
        for count in (label.total, label.splits.setdefault(row["split"], Count())):
            if row["status"] == "failed":
                count.failed += row["count_all"]
            else:
                count.ok += row["count_all"]
    known = [split for split in SPLIT_ORDER if split in splits]
    return [labels[label] for label in sorted(labels, key=_label_key)], known + sorted(splits.difference(known))


def _by_kind(rows: pa.Table) -> list[FailureKind]:
    failed = rows.filter(pc.equal(rows["status"], "failed"))
    kinds = failed.group_by("error_kind").aggregate([([], "count_all"), (_ROW, "min")]).to_pylist()
    found = []
    for group in sorted(kinds, key=lambda group: (-group["count_all"], str(group["error_kind"]))):
        first = _one(rows, group[f"{_ROW}_min"])
        kind = group["error_kind"] or "unknown"
        error = CLIP_ERRORS.get(kind)
        meaning = _OTHER_KINDS.get(kind) or ((error.__doc__ or "") if error else "").partition("\n")[0]
        is_open = kind == NOT_DONE or (error is not None and not error.permanent)
        found.append(
            FailureKind(
                kind, group["count_all"], is_open, meaning, first["annotation_id"], first["error_message"] or ""
            )
        )
    return found


def _by_source(rows: pa.Table) -> list[SourceCount]:
    keyed = rows.set_column(
        rows.column_names.index("error_kind"),
        "error_kind",
        pc.if_else(pc.equal(rows["status"], "failed"), pc.fill_null(rows["error_kind"], "unknown"), None),
    )
    found: dict[str | None, SourceCount] = {}
    first: dict[str | None, int] = {}
    for group in keyed.group_by(["source", "error_kind"]).aggregate([([], "count_all"), (_ROW, "min")]).to_pylist():
        source = found.setdefault(group["source"], SourceCount(group["source"] or "none was asked"))
        if group["error_kind"] is None:
            source.count.ok += group["count_all"]
            continue
        source.count.failed += group["count_all"]
        source.kinds[group["error_kind"]] = group["count_all"]
        first[group["source"]] = min(group[f"{_ROW}_min"], first.get(group["source"], len(rows)))
    for name, source in found.items():
        source.kinds = dict(sorted(source.kinds.items(), key=lambda kind: (-kind[1], kind[0])))
        if name in first:
            row = _one(rows, first[name])
            source.example, source.message = row["annotation_id"], row["error_message"] or ""
    return sorted(found.values(), key=lambda source: (-source.count.all, source.source))


def _listed(rows: pa.Table) -> list[dict[str, Any]]:
    names = ("annotation_id", "label", "split", "error_kind", "error_message", "source", "attempts")
    return list(rows.select(list(names)).to_pylist())


def _top(rows: pa.Table, column: str) -> list[dict[str, Any]]:
    names = ["clip_id", "label", "split", "status", "error_kind", "source", "attempts"]
    names += ["bytes", "width", "height", "fps", "duration", "seconds", *(f"{stage}_seconds" for stage in STAGES)]
    known = rows.select(names).filter(pc.is_valid(rows[column]))
    if not len(known):  # of which Arrow cannot select
        return []
    order = pc.select_k_unstable(known, LISTED_CLIPS, [(column, "descending"), ("clip_id", "ascending")])
    return list(known.take(order).to_pylist())


def _first_of_each(rows: pa.Table, number: int) -> pa.Table:
    """The first ``number`` rows of every label of rows that are sorted by it."""
    if not len(rows):
        return rows
    codes = pc.fill_null(rows["label"].combine_chunks().dictionary_encode().indices, -1).to_numpy(zero_copy_only=False)
    begins = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    position = np.arange(len(rows)) - np.repeat(begins, np.diff(np.r_[begins, len(rows)]))
    return rows.filter(pa.array(position < number))


def _one(rows: pa.Table, number: int) -> dict[str, Any]:
    row: dict[str, Any] = rows.slice(number, 1).to_pylist()[0]
    return row


def _summed(counts: Iterable[Count]) -> Count:
    total = Count()
    for count in counts:
        total.ok += count.ok
        total.failed += count.failed
    return total


def _value_counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist()}


def _label_key(label: str | None) -> tuple[bool, str]:
    """By the alphabet; what has no label comes last."""
    return label is None, label or ""
