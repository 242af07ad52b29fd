"""A dataset grows: only what is new is done, and nothing that was there changes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.conftest import VideoMaker
from tests.integration.test_pipeline import settings_file, snapshot_of, vidclf
from vidclf.ledger import scan
from vidclf.snapshot import dataset_store, read_snapshot, snapshot_id_of

pytestmark = pytest.mark.integration
COLUMNS = ["label", "youtube_id", "time_start", "time_end", "split"]


@pytest.fixture
def videos(make_video: VideoMaker, tmp_path: Path) -> Path:
    for number in range(6):
        make_video(f"videos/v{number}.mp4", num_frames=100 + number)
    return tmp_path / "videos"


def settings(folder: Path, rows: list[list[Any]], videos: Path, name: str) -> str:
    table = folder / f"{name}.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    (folder / name).mkdir()
    return settings_file(
        folder / name,
        {
            "dataset": "growing",
            "annotations": {"path": str(table), "label_contains": None},
            "sources": [{"kind": "folder", "path": str(videos)}],
            "clips": {"short_side": 64},
            "frames": {"num_frames": 2, "side_size": 32},
            "augment": None,
            "execution": {"num_shards": 2, "part_size": 4},
        },
    )


def files_of(dataset: Path) -> dict[str, bytes]:
    folders = ("clips", "frames", "snapshots")
    return {str(p): p.read_bytes() for folder in folders for p in (dataset / folder).rglob("*") if p.is_file()}


def test_more_annotations_and_classes_later_cost_only_the_new_clips(
    videos: Path, own_home: Path, tmp_path: Path
) -> None:
    old = [["jive", f"v{n % 5}", n % 3, n % 3 + 1, "train"] for n in range(10)]
    new = [["ballet", "v5", 0, 1, "train"], ["zumba", "v5", 1, 2, "val"]]
    vidclf(own_home, "run", "ingest/demo", "--config", settings(tmp_path, old, videos, "old"))
    dataset = own_home / "store/datasets/growing"
    before, files, first = snapshot_of(own_home, "growing"), files_of(dataset), ends(dataset)
    vidclf(own_home, "run", "ingest/demo", "--config", settings(tmp_path, [*new, *old], videos, "new"))
    after = snapshot_of(own_home, "growing")
    assert before.classes == ["jive"]
    assert after.classes == ["jive", "ballet", "zumba"]
    assert len(after.clips) == len(before.clips) + 2
    was = {row["annotation_id"]: row for row in before.clips.to_pylist()}
    assert {row["annotation_id"]: row for row in after.clips.to_pylist() if row["annotation_id"] in was} == was
    now = files_of(dataset)
    assert {path: now[path] for path in files} == files
    assert {key: end for key, end in ends(dataset).items() if key in first} == first
    assert len(ends(dataset)) == len(first) + 3 * len(new)
    again = read_snapshot(dataset_store(str(own_home / "store"), "growing"), before.snapshot_id)
    assert snapshot_id_of(again.clips, again.made_by["recipes"]) == before.snapshot_id


def ends(dataset: Path) -> dict[tuple[str, str], Any]:
    """(stage, clip) → when it was finished and by which run."""
    store = dataset_store(str(dataset.parents[1]), dataset.name)
    found = {}
    for stage in ("download", "transcode", "frames"):
        table: pa.Table = scan(store, stage, None)
        assert len(table) == len(set(table["key"].to_pylist()))
        for row in table.select(["key", "run_id", "finished_at"]).to_pylist():
            found[stage, row["key"]] = (row["run_id"], row["finished_at"])
    return found
