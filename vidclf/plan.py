"""The plan: every annotation with its ids and its shard, and which of them are clips to make. Columns, not objects.

Kinetics-700-2020 has 644 thousand rows; a shard of them, about a thousand, is turned into ``Clip`` objects at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidclf.clips import ANNOTATIONS, Clip, clip_id, shard_of

#: ``ANNOTATIONS`` and, of every row, its ids, its shard, and whether its clip is made (the first row of a clip's is).
PLAN = pa.schema(
    [
        *ANNOTATIONS,
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("used", pa.bool_(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Plan:
    """The rows of ``PLAN``, sorted by shard."""

    rows: pa.Table = field(default_factory=PLAN.empty_table)
    num_shards: int = 1
    notices: tuple[str, ...] = ()  # sentences about the annotations, for people

    @property
    def clips(self) -> pa.Table:
        """The rows whose clip is made: one per clip."""
        return self.rows.filter(self.rows["used"])

    @property
    def labels(self) -> set[str]:
        return set(pc.unique(self.rows["label"].drop_null()).to_pylist())

    def shard(self, number: int) -> dict[str, Clip]:
        """clip_id → clip, of one shard, in the order of the annotations."""
        begin, end = np.searchsorted(self.rows["shard"].to_numpy(), [number, number + 1])
        rows = self.rows.slice(begin, end - begin)
        rows = rows.filter(rows["used"]).select(["clip_id", "source_id", "label", "split", "time_start", "time_end"])
        return {row["clip_id"]: Clip(**row) for row in rows.to_pylist()}


def make_plan(
    annotations: pa.Table,
    num_shards: int,
    notices: Iterable[str] = (),
    removed: Iterable[str] = (),
    removed_sources: Iterable[str] = (),
) -> Plan:
    """Ids and shards for the rows of an ``ANNOTATIONS`` table.

    The order of the rows decides which of several annotations of the same clip is used: the first that has no problem.

    Args:
        removed: clip_ids that were taken out of the dataset; they are never made.
        removed_sources: source_ids of which no clip is ever made, whatever its segment.
    """
    sources = annotations["source_id"].to_pylist()
    clips = [
        clip_id(*row)
        for row in zip(sources, annotations["time_start"].to_pylist(), annotations["time_end"].to_pylist(), strict=True)
    ]
    shards = pa.array([shard_of(source, num_shards) for source in sources], pa.int32())
    allowed = pc.invert(pc.is_in(annotations["source_id"], pa.array(list(removed_sources), pa.string())))
    good = pc.and_(annotations["problem"].is_null(), allowed)
    used = _first_without_problem(clips, good.to_pylist(), set(removed))
    columns = [
        *annotations.columns,
        pa.array(clips, pa.string()),
        pa.array(_distinct(clips), pa.string()),
        shards,
        used,
    ]
    rows = pa.Table.from_arrays(columns, schema=PLAN)
    return Plan(rows.take(pc.sort_indices(rows["shard"])).combine_chunks(), num_shards, tuple(notices))


def _distinct(clips: list[str]) -> Iterator[str]:
    """annotation_ids: the clip_id, with ``.2``, ``.3``, … for the second annotation of a clip and the further ones."""
    seen: dict[str, int] = {}
    for clip in clips:
        number = seen[clip] = seen.get(clip, 0) + 1
        yield clip if number == 1 else f"{clip}.{number}"


def _first_without_problem(clips: list[str], good: list[bool], removed: set[str]) -> pa.Array:
    seen = removed
    used = []
    for clip, is_good in zip(clips, good, strict=True):
        used.append(is_good and clip not in seen)
        if is_good:
            seen.add(clip)
    return pa.array(used, pa.bool_())
