"""Predicting the clips of a dataset, part by part: what a worker does, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.vidclf.ingested import A_LATER, OK, UNLABELLED, A, B, C, Ingest
from tests.vidclf.untrained import evaluated, save_untrained, view_of
from vidclf.data.view import StoredFrames, stored_frames
from vidclf.errors import ConfigError
from vidclf.maintenance.remove import find_clips, remove
from vidclf.models import checkpoint
from vidclf.predict.dataset import PREDICTIONS, Part, answer_part, clips_of, fits, rows_of, table_of
from vidclf.snapshot import Snapshot, read_snapshot
from vidclf.storage import Store


@pytest.fixture(scope="module")
def snapshot(ingested: Path) -> Snapshot:
    return read_snapshot(Store(ingested / "dataset"))


def model_for(folder: Path, snapshot: Snapshot, reader: Any = "frames", **stored: Any) -> Path:
    fitting = stored_frames(snapshot.made_by, reader).model_copy(update=stored)
    return save_untrained(folder / "model", view_of(fitting, reader=reader), snapshot.classes)


def part_of(model: Path, ingested: Path, snapshot: Snapshot, split: str | None = None, **changes: Any) -> Part:
    view = checkpoint.read_card(model).view
    as_stored = fits(snapshot, view)
    clips = tuple(clips_of(rows_of(snapshot, split), view, as_stored))
    values: dict[str, Any] = {"store": Store(ingested / "dataset"), "model": str(model), "clips": clips}
    return Part(**(values | {"as_stored": as_stored, "top_k": 2, "num_views": 3} | changes))


@pytest.mark.parametrize("reader", ["frames", "clips"])
def test_a_clip_gets_what_the_evaluation_gives_it(
    ingested: Path, snapshot: Snapshot, tmp_path: Path, reader: Any
) -> None:
    folder = model_for(tmp_path, snapshot, reader)
    part = part_of(folder, ingested, snapshot, "train")
    assert part.as_stored
    said = {one.clip_id: dict(one.labels) for one in answer_part(part)}
    for clip_id, probabilities in evaluated(folder, snapshot, part.store, "train", 3).items():
        assert [said[clip_id][label] for label in snapshot.classes] == pytest.approx(probabilities, abs=1e-5)


def test_every_annotation_has_its_row_and_its_reason(ingested: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    part = part_of(model_for(tmp_path, snapshot), ingested, snapshot)
    assert {clip.clip_id for clip in part.clips} == OK
    rows = rows_of(snapshot, None)
    table = table_of(rows, {one.clip_id: one for one in answer_part(part)})
    assert table.schema == PREDICTIONS
    assert table["annotation_id"].to_pylist() == [row["annotation_id"] for row in rows]
    for row, asked in zip(table.to_pylist(), rows, strict=True):
        assert row["label"] == asked["label"]
        if asked["status"] == "failed":
            assert (row["status"], row["error_kind"], row["predicted"]) == ("failed", asked["error_kind"], None)
        else:
            assert (row["status"], row["error_kind"]) == ("ok", None)
            assert (row["predicted"], row["probability"]) == (row["labels"][0], row["probabilities"][0])
            assert len(row["labels"]) == 2
    assert {row["clip_id"] for row in table.to_pylist() if row["label"] is None} == {UNLABELLED}


def test_a_split_is_taken_alone_and_one_that_is_not_there_is_named(snapshot: Snapshot) -> None:
    assert {row["clip_id"] for row in rows_of(snapshot, "val")} == {C}
    with pytest.raises(ConfigError, match=r"split 'other' has no annotation; splits that have: test \(1\), train"):
        rows_of(snapshot, "other")


def test_frames_of_another_recipe_are_taken_from_the_clips(ingested: Path, snapshot: Snapshot, tmp_path: Path) -> None:
    folder = model_for(tmp_path, snapshot, num_frames=6)
    part = part_of(folder, ingested, snapshot, "val")
    assert not part.as_stored
    assert [clip.path.rsplit(".", 1)[-1] for clip in part.clips] == ["mp4"]
    (said,) = answer_part(part)
    from vidclf.predict.classifier import load

    (expected,) = load(folder, device="cpu").predict([part.store.full(part.clips[0].path)], top_k=2)
    assert [label for label, _ in said.labels] == [label for label, _ in expected.labels]
    assert dict(said.labels) == pytest.approx(dict(expected.labels), abs=1e-5)


def test_a_checkpoint_that_does_not_know_the_quality_fits_all_the_same(snapshot: Snapshot) -> None:
    stored = stored_frames(snapshot.made_by, "frames")
    assert fits(snapshot, view_of(stored))
    assert fits(snapshot, view_of(stored.model_copy(update={"quality": None})))
    assert not fits(snapshot, view_of(stored.model_copy(update={"quality": 1})))
    assert not fits(snapshot, view_of(StoredFrames(num_frames=4, side_size=16)))


def test_a_clip_that_cannot_be_read_costs_itself(ingest: Ingest, snapshot: Snapshot, tmp_path: Path) -> None:
    part = part_of(model_for(tmp_path, snapshot), tmp_path, snapshot, "train", store=ingest.store)
    remove(ingest.store, find_clips(ingest.store, [A]))
    said = {one.clip_id: one for one in answer_part(part)}
    assert set(said) == {A, A_LATER, B}
    assert [clip for clip, one in said.items() if one.error_kind] == [A]
    row = next(r for r in table_of(rows_of(snapshot, "train"), said).to_pylist() if r["clip_id"] == A)
    assert (row["status"], row["error_kind"]) == ("failed", said[A].error_kind)
    assert "taken out" in row["error_message"]
