"""The plan gives every annotation its ids and every clip its shard, whatever else is in the list."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from vidclf.clips import ANNOTATIONS
from vidclf.plan import make_plan


def annotations(*rows: dict[str, Any]) -> pa.Table:
    base = {"label": "a", "split": "train", "time_start": 1.0, "time_end": 3.0}
    return pa.Table.from_pylist([{**base, **row} for row in rows], schema=ANNOTATIONS)


def test_each_annotation_has_its_own_id_and_the_first_good_one_of_a_clip_is_used() -> None:
    rows = annotations(
        {"source_id": "x", "label": "wrong", "problem": "nonsense"},
        {"source_id": "x", "label": "first"},
        {"source_id": "x", "label": "second"},
        {"source_id": "x", "time_start": 2.0},
    )
    plan = make_plan(rows, 1)
    assert plan.rows["annotation_id"].to_pylist() == [
        "x_000001_000003", "x_000001_000003.2", "x_000001_000003.3", "x_000002_000003",
    ]  # fmt: skip
    assert plan.rows["used"].to_pylist() == [False, True, False, True]
    assert {clip_id: clip.label for clip_id, clip in plan.shard(0).items()} == {
        "x_000001_000003": "first",
        "x_000002_000003": "a",
    }


def test_a_clip_stays_in_its_shard_whoever_else_is_planned() -> None:
    some = [{"source_id": f"video{number}"} for number in range(200)]
    more = [{"source_id": f"new{number}"} for number in range(100)]
    few, many = make_plan(annotations(*some), 8), make_plan(annotations(*more, *some), 8)
    for shard in range(8):
        assert few.shard(shard).keys() <= many.shard(shard).keys()
    assert sum(len(few.shard(shard)) for shard in range(8)) == 200


def test_the_clips_of_one_video_share_a_shard() -> None:
    plan = make_plan(
        annotations(*({"source_id": "v", "time_start": float(t), "time_end": t + 1.0} for t in range(50))), 16
    )
    assert len(set(plan.rows["shard"].to_pylist())) == 1


def test_no_segment_of_a_removed_source_is_made() -> None:
    rows = annotations({"source_id": "x"}, {"source_id": "x", "time_start": 2.0}, {"source_id": "y"})
    plan = make_plan(rows, 1, removed_sources=["x"])
    assert plan.clips["source_id"].to_pylist() == ["y"]
    assert len(plan.rows) == 3
