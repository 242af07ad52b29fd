"""Snapshots: identity, atomic publish, classes that keep their numbers."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from vidclf.clips import MANIFEST
from vidclf.errors import ConfigError
from vidclf.snapshot import (
    extend_classes,
    latest_id,
    ok_share,
    point_latest_at,
    read_snapshot,
    register_classes,
    snapshot_id_of,
    write_snapshot,
)
from vidclf.storage import Store

MADE_BY = {"recipes": {"clips": "c", "frames": "f"}, "frames": {"num_frames": 16, "side_size": 64}}


def manifest(*rows: dict[str, object]) -> pa.Table:
    base = {"clip_id": "c", "split": "train", "source_id": "s", "status": "ok", "label": "a", "label_id": 0}
    return pa.Table.from_pylist([{**base, **row} for row in rows], schema=MANIFEST)


def test_the_id_does_not_depend_on_order_place_or_wording() -> None:
    one = manifest({"annotation_id": "1", "frames_path": "x", "error_message": "a"}, {"annotation_id": "2"})
    two = manifest({"annotation_id": "2"}, {"annotation_id": "1", "frames_path": "y", "frames_row": 7})
    assert snapshot_id_of(one, MADE_BY["recipes"]) == snapshot_id_of(two, MADE_BY["recipes"])


@pytest.mark.parametrize(
    "change", [{"sha256": "z"}, {"status": "failed"}, {"label_id": 1}, {"num_variants": 3}, {"split": "val"}]
)
def test_the_id_depends_on_everything_else(change: dict[str, object]) -> None:
    recipes = MADE_BY["recipes"]
    assert snapshot_id_of(manifest({"annotation_id": "1"}), recipes) != snapshot_id_of(
        manifest({"annotation_id": "1", **change}), recipes
    )
    assert snapshot_id_of(manifest({"annotation_id": "1"}), recipes) != snapshot_id_of(
        manifest({"annotation_id": "1"}), {**recipes, "frames": "g"}
    )


def test_a_snapshot_is_seen_once_latest_points_at_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    written = write_snapshot(store, manifest({"annotation_id": "1"}), ["a"], MADE_BY)
    assert latest_id(store) is None
    with pytest.raises(ConfigError, match="has no snapshot yet"):
        read_snapshot(store)
    assert point_latest_at(store, written, "run")
    assert not point_latest_at(store, written, "another run")  # it is that already
    found = read_snapshot(store)
    assert found.snapshot_id == written.snapshot_id
    assert found.clips.to_pylist() == written.clips.to_pylist()
    assert (found.classes, found.made_by) == (["a"], MADE_BY)
    with pytest.raises(ConfigError, match="has no snapshot 'nonsense'"):
        read_snapshot(store, "nonsense")


def test_new_classes_never_renumber_old_ones() -> None:
    assert extend_classes(["b", "d"], {"a", "b", "c"}) == ["b", "d", "a", "c"]


def test_the_share_that_is_ok_counts_unlabelled_clips_too() -> None:
    states = ["unlabelled", "failed", "unlabelled", "ok"]
    clips = manifest(*({"annotation_id": str(number), "status": status} for number, status in enumerate(states)))
    assert ok_share(clips) == 0.75


def test_a_class_keeps_its_number_whatever_is_published_after_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert register_classes(store, {"a", "c"}) == ["a", "c"]
    assert register_classes(store, {"b"}) == ["a", "c", "b"]
    assert register_classes(store, {"a"}) == ["a", "c", "b"]
