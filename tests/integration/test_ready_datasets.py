"""The deployments for public data sets, each on a small tree of exactly that data set's layout."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import VideoMaker
from tests.integration.test_pipeline import snapshot_of, vidclf
from vidclf.snapshot import dataset_store

pytestmark = pytest.mark.integration


@pytest.mark.slow
def test_ucf_sports_is_merged_checked_and_filled_up(own_home: Path, tmp_path: Path, make_video: VideoMaker) -> None:
    folders = {
        "Diving-Side": 10, "Golf-Swing-Back": 3, "Golf-Swing-Front": 3, "Golf-Swing-Side": 4, "Kicking-Front": 5,
        "Kicking-Side": 5, "Lifting": 10, "Riding-Horse": 10, "Run-Side": 10, "SkateBoarding-Front": 10,
        "Swing-Bench": 10, "Swing-SideAngle": 10, "Walk-Front": 10,
    }  # fmt: skip
    for label, number in folders.items():
        for clip in range(1, number + 1):
            folder = f"ucf_action/{label}/{clip:03d}"
            name = f"{folder}/{3200 + clip}-{clip}_70{clip:03d}.avi"
            make_video(name, num_frames=6 if (label, clip) == ("Lifting", 1) else 14, rate=10, codec="mpeg4")
            (tmp_path / folder / "gt").mkdir()
            (tmp_path / folder / "gt" / f"{clip:03d}.txt").write_text("0 0 10 10 Lifting\n")
            (tmp_path / folder / f"{3200 + clip}-0001.jpg").write_bytes(b"\xff\xd8\xff")
    root = str(tmp_path / "ucf_action")
    vidclf(
        own_home, "run", "ingest/ucf-sports",
        "--set", f"annotations.path={root}", "--set", f"sources=[{{kind: folder, path: '{root}'}}]",
        "--set", "frames.num_frames=4", "--set", "augment.target_per_class=12",
    )  # fmt: skip
    snapshot = snapshot_of(own_home, "ucf-sports")
    assert snapshot.classes == [
        "Diving", "Golf Swing", "Kicking", "Lifting", "Riding Horse", "Running", "SkateBoarding", "Swing-Bench",
        "Swing-Side", "Walking",
    ]  # fmt: skip
    rows = snapshot.clips.to_pylist()
    assert Counter(row["label"] for row in rows) == dict.fromkeys(snapshot.classes, 10)
    (short,) = [row for row in rows if row["status"] == "failed"]
    assert (short["label"], short["error_kind"]) == ("Lifting", "too_short")
    for label in snapshot.classes:
        mine = [row for row in rows if row["label"] == label]
        assert Counter(row["split"] for row in mine)["train"] in (6, 7)
        assert sum(1 + row["num_variants"] for row in mine if row["split"] == "train" and row["status"] == "ok") == 12
        assert not any(row["num_variants"] for row in mine if row["split"] != "train")

    exported = tmp_path / "exported"
    dataset = dataset_store(str(own_home / "store"), "ucf-sports").uri
    vidclf(own_home, "dataset", "export", dataset, str(exported))
    for split in ("train", "val", "test"):
        lines = list(csv.reader((exported / f"{split}.csv").read_text().splitlines()))
        wanted = [row for row in rows if row["split"] == split and row["status"] == "ok"]
        assert sorted(int(label_id) for _, label_id in lines) == sorted(row["label_id"] for row in wanted)
        assert all((exported / path).stat().st_size for path, _ in lines)


def test_hmdb51_has_sixteen_square_frames_and_a_stratified_split(
    own_home: Path, tmp_path: Path, make_video: VideoMaker
) -> None:
    for label in ("brush_hair", "cartwheel", "ride_bike"):
        for number in range(10):
            name = f"hmdb51/{label}/{number}_test_{label}_f_nm_np1_ba_med_{number}.avi"
            make_video(name, num_frames=20 + number, rate=30, codec="mpeg4", size=(320, 240))
    root = str(tmp_path / "hmdb51")
    vidclf(
        own_home, "run", "ingest/hmdb51",
        "--set", f"annotations.path={root}", "--set", f"sources=[{{kind: folder, path: '{root}'}}]",
    )  # fmt: skip
    snapshot = snapshot_of(own_home, "hmdb51")
    assert snapshot.stats["ok_by_class"] == {label: {"test": 2, "train": 7, "val": 1} for label in snapshot.classes}
    store = dataset_store(str(own_home / "store"), "hmdb51")
    for row in snapshot.clips.to_pylist():
        stored = store.read_row_group(row["frames_path"], row["frames_row"]).to_pylist()[0]
        assert (len(stored["frames"]), stored["width"], stored["height"]) == (16, 112, 112)
        steps = [b - a for a, b in zip(stored["timestamps"], stored["timestamps"][1:], strict=False)]
        assert max(steps) - min(steps) <= 1 / 30 + 1e-6  # equally spaced, to a frame
