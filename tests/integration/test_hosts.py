"""A whole ingest against hosts that misbehave: the right kind for each clip, the right number of requests, no clip lost."""

from __future__ import annotations

import contextlib
import csv
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import VideoMaker
from tests.integration.test_pipeline import settings_file, snapshot_of, vidclf
from tests.misbehaving import MisbehavingServer, Reset, Silence, Status, Trickle, Truncated
from vidclf.ledger import read_shard
from vidclf.snapshot import dataset_store

pytestmark = pytest.mark.integration
PAUSE = 5.0  # seconds that the busy host asks for


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as running:
        yield running


@pytest.fixture
def video(make_video: VideoMaker) -> bytes:
    return make_video("good.mp4", num_frames=50).read_bytes()


def annotations(folder: Path, names: list[str]) -> str:
    path = folder / "list.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        writer.writerows(["a", name, 0, 1, "train"] for name in names)
    return str(path)


def settings(tmp_path: Path, names: list[str], url: str, source: dict[str, Any], **execution: Any) -> str:
    return settings_file(
        tmp_path,
        {
            "dataset": "hosts",
            "annotations": {"path": annotations(tmp_path, names), "label_contains": None},
            "sources": [{"kind": "mirror", "uri": url + "/{id}.mp4", **source}],
            "clips": {"short_side": 64},
            "frames": {"num_frames": 2, "side_size": 32},
            "augment": None,
            "publish": {"min_ok_share": 0.1},
            "execution": {"num_shards": 1, **execution},
        },
    )


def test_each_clip_ends_with_the_right_kind_and_the_host_is_asked_as_often_as_the_policy_says(
    server: MisbehavingServer, video: bytes, own_home: Path, tmp_path: Path
) -> None:
    behaviours: dict[str, Any] = {
        "fine": video,
        "missing": Status(404),
        "withdrawn": Status(410),
        "forbidden": Status(403),
        "busy": Status(429, {"Retry-After": f"{PAUSE:.0f}"}),
        "busy-once": [Status(429, {"Retry-After": f"{PAUSE:.0f}"}), video],
        "broken": Status(500),
        "broken-once": [Status(500), video],
        "reset": Reset(video, after=300),
        "truncated": Truncated(video, after=500),
        "trickle": Trickle(video, pause=0.2),
        "silent": Silence(),
        "half-silent": Silence(video[:200]),
    }
    for name, behaviour in behaviours.items():
        server.serve(f"/{name}.mp4", behaviour)
    path = settings(tmp_path, list(behaviours), server.url, {"timeout": 1.0, "pause": 0.5})
    said = vidclf(own_home, "run", "ingest/demo", "--config", path).stderr
    rows = {row["source_id"]: row for row in snapshot_of(own_home, "hosts").clips.to_pylist()}
    assert {name: row["error_kind"] for name, row in rows.items()} == {
        "fine": None,
        "missing": "gone",
        "withdrawn": "gone",
        "forbidden": "blocked",
        "busy": "blocked",
        "busy-once": None,
        "broken": "unreachable",
        "broken-once": None,
        "reset": "unreachable",
        "truncated": "unreachable",
        "trickle": "unreachable",
        "silent": "unreachable",
        "half-silent": "unreachable",
    }
    asked = Counter(path.strip("/").removesuffix(".mp4") for path in server.paths())
    permanent, once = {"missing", "withdrawn", "fine"}, {"busy-once", "broken-once"}
    assert asked == {name: 1 if name in permanent else 2 if name in once else 3 for name in behaviours}
    entries = read_shard(dataset_store(str(own_home / "store"), "hosts"), "download", 0, None)
    assert {entries[name + "_000000_000001"].attempts for name in ("busy", "silent")} == {3}

    first_busy = next(r.time for r in server.requests if r.path in ("/busy.mp4", "/busy-once.mp4"))
    in_the_pause = [r for r in server.requests if first_busy + 2.5 < r.time < first_busy + PAUSE - 0.1]
    assert not in_the_pause  # everybody waits; only who had its turn before may still have come
    sentence = f"everybody waits for {server.netloc} until"
    assert sentence in said
    assert any(sentence in message for message in prefect_logs(own_home))


def prefect_logs(home: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(home / "prefect/prefect.db")) as database:
        return [message for (message,) in database.execute("select message from log")]


@pytest.mark.slow
def test_no_host_sees_more_than_the_allowed_rate(
    server: MisbehavingServer, video: bytes, own_home: Path, tmp_path: Path
) -> None:
    names = [f"v{number}" for number in range(16)]
    for name in names:
        server.serve(f"/{name}.mp4", video)
    path = settings(tmp_path, names, server.url, {"rate": 4 * 3600})
    vidclf(own_home, "run", "ingest/demo", "--config", path)
    assert snapshot_of(own_home, "hosts").stats["status"] == {"ok": 16}
    times = sorted(request.time for request in server.requests)
    assert len(times) == 16
    assert times[-1] - times[0] >= 15 / 4 - 0.2
    for begin in times:  # any window of a second, with the time that a request needs to arrive
        assert sum(begin <= time < begin + 0.9 for time in times) <= 5


def test_with_the_host_down_nothing_is_published_and_the_message_says_why(
    video: bytes, own_home: Path, tmp_path: Path
) -> None:
    with MisbehavingServer() as gone:
        url = gone.url
    path = settings(tmp_path, ["a", "b", "c"], url, {"pause": 0.2, "timeout": 1.0})
    said = vidclf(own_home, "run", "ingest/demo", "--config", path, status=1).stderr.strip().splitlines()[-1]
    assert "only 0.0% of the clips are ok (3 unreachable)" in said
    assert not (own_home / "store/datasets/hosts/latest.json").exists()
