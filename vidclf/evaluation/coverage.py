"""The videos that a number is not of: how many annotated ones could not be scored, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

UNKNOWN_CLASS = "unknown_class"
REMOVED = "removed"
NOT_SCORED = "not_scored"


@dataclass(frozen=True)
class Coverage:
    """``annotated = scored + unscored``, in videos of a split, or of a sample of it."""

    annotated: int
    scored: int
    reasons: dict[str, int]  # why not, and how many: a kind of error, unknown_class, removed
    unknown_classes: dict[str, int]  # labels that the model has no class for, and their videos

    @property
    def unscored(self) -> int:
        return self.annotated - self.scored


def annotated(clips: pa.Table, split: str, sample: int | None = None, seed: int = 0) -> pa.Table:
    """The labelled videos of a split, each once, or a sample of them drawn by ``seed``; rows of the manifest.

    Videos that failed are drawn as any other, so that a sample misses as many of a hundred as the split does.
    """
    rows = clips.filter(pc.and_(pc.equal(clips["split"], split), pc.is_valid(clips["label"])))
    _, first = np.unique(rows["clip_id"].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    rows = rows.take(np.sort(first))
    if sample is None or sample >= len(rows):
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).permutation(len(rows))[:sample]))


def outcomes(
    rows: pa.Table, known: Collection[str], removed: Collection[str], statuses: Mapping[str, str]
) -> dict[str, str]:
    """clip_id → "ok", or why the video could not be scored.

    Args:
        rows: what ``annotated`` gave.
        known: labels that the model has a class for.
        removed: clip_ids that were taken out since the snapshot.
        statuses: clip_id → how its scoring ended, "ok" or a kind of error.
    """
    gone, found = set(removed), {}
    for row in rows.select(["clip_id", "label", "status", "error_kind"]).to_pylist():
        if row["status"] != "ok":
            found[row["clip_id"]] = row["error_kind"] or "unknown"
        elif row["clip_id"] in gone:
            found[row["clip_id"]] = REMOVED
        elif row["label"] not in known:
            found[row["clip_id"]] = UNKNOWN_CLASS
        else:
            found[row["clip_id"]] = statuses.get(row["clip_id"], NOT_SCORED)
    return found


def cover(rows: pa.Table, ends: Mapping[str, str]) -> Coverage:
    """Count what ``outcomes`` said of ``rows``."""
    reasons = Counter(end for end in ends.values() if end != "ok")
    videos = zip(rows["clip_id"].to_pylist(), rows["label"].to_pylist(), strict=True)
    unknown = Counter(label for clip_id, label in videos if ends[clip_id] == UNKNOWN_CLASS)
    scored = len(ends) - reasons.total()
    return Coverage(len(ends), scored, dict(sorted(reasons.items())), dict(sorted(unknown.items())))
