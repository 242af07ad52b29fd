"""An ingest from the public mirror's tars: each is read once, what they have not comes from the next source."""

from __future__ import annotations

import csv
import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import VideoMaker
from tests.integration.test_pipeline import settings_file, snapshot_of, vidclf
from tests.misbehaving import MisbehavingServer, Truncated

pytestmark = pytest.mark.integration
LABELS = ["belly dancing", "salsa dancing", "yoga"]


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as running:
        yield running


def test_clips_come_out_of_tars_that_are_read_once(
    server: MisbehavingServer, own_home: Path, tmp_path: Path, make_video: VideoMaker
) -> None:
    rows, tars = [], {}
    for position, label in enumerate(LABELS):
        names = [f"id{position}{number:08d}" for number in range(4)]
        rows += [[label, name, 5, 7, "train"] for name in names]
        cut = {name: make_video(f"cut/{name}.mp4", num_frames=50).read_bytes() for name in names}
        if label == "belly dancing":  # one is missing in the tar, and elsewhere as a whole video
            missing = names[0]
            del cut[missing]
            make_video(f"whole/{missing}.mp4", num_frames=200)
        tars[label] = tar_of({f"{label}/{name}_000005_000007.mp4": data for name, data in cut.items()})
        server.serve(f"/k/train/k700_train_{position + 1:03d}.tar.gz", tars[label])
    paths = "".join(f"{server.url}/k/train/k700_train_{number + 1:03d}.tar.gz\n" for number in range(len(LABELS)))
    server.serve("/k/train/k700_2020_train_path.txt", paths.encode())
    salsa = "/k/train/k700_train_002.tar.gz"
    server.serve(salsa, Truncated(tars["salsa dancing"], after=len(tars["salsa dancing"]) * 2 // 3))

    table = tmp_path / "list.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["label", "youtube_id", "time_start", "time_end", "split"], *rows])
    settings = settings_file(
        tmp_path,
        {
            "dataset": "tars",
            "annotations": {"path": str(table), "label_contains": "dancing"},
            "sources": [
                {"kind": "cvdf", "base": server.url + "/k", "timeout": 2, "pause": 0.2},
                {"kind": "folder", "path": str(tmp_path / "whole")},
            ],
            "clips": {"short_side": 64},
            "frames": {"num_frames": 2, "side_size": 32},
            "augment": None,
            "publish": {"min_ok_share": 0.3},
            "execution": {"num_shards": 2, "keep_sources": False},
        },
    )
    vidclf(own_home, "run", "ingest/demo", "--config", settings)
    first = {row["source_id"]: row for row in snapshot_of(own_home, "tars").clips.to_pylist()}
    assert first[missing]["status"] == "ok"
    assert all(row["num_frames"] == 50 for row in first.values() if row["status"] == "ok")
    lost = [row for row in first.values() if row["status"] == "failed"]
    assert lost
    assert {(row["label"], row["error_kind"]) for row in lost} == {("salsa dancing", "unreachable")}
    assert any("k700_train_002.tar.gz" in row["error_message"] for row in lost)
    assert not any(
        request.path.endswith("003.tar.gz") and "range" not in request.headers for request in server.requests
    )

    before = len(server.requests)
    server.serve(salsa, tars["salsa dancing"])  # the tar is whole again
    vidclf(own_home, "run", "ingest/demo", "--config", settings)
    rows_now = snapshot_of(own_home, "tars").clips.to_pylist()
    assert Counter(row["status"] for row in rows_now) == {"ok": 8}
    read = Counter(r.path for r in server.requests[before:] if r.path.endswith(".gz") and "range" not in r.headers)
    assert set(read) == {salsa}
    assert not [p for p in (own_home / "store/datasets/tars/sources").rglob("*") if p.is_file()]  # not kept
