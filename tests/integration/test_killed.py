"""A run that is killed, whenever that is, ends the same when it is run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.test_pipeline import ROOT, left_behind, settings_file, snapshot_of, vidclf
from vidclf.ledger import Entry, read_stage
from vidclf.snapshot import dataset_store
from vidclf.stages import augment, download, frames, transcode

pytestmark = [pytest.mark.integration, pytest.mark.slow]

#: What has appeared in the dataset's folder when a run is killed.
MOMENTS = {
    "plan": "dataset.json",
    "download": "sources/*",
    "download, after its first entry": "ledger/download/*",
    "transcode": "clips/*/*",
    "frames": "frames/*/*",
    "augment": "ledger/augment/*",
    "publish": "snapshots/*/clips.parquet",
}
STAGES = (download.STAGE, transcode.STAGE, frames.STAGE, augment.STAGE)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo's first 64 clips, in small shards and parts."""
    changes = {
        "annotations": {"limit": 64},
        "augment": {"target_per_class": 20},
        "publish": {"min_ok_share": 0.5},
        "execution": {"num_shards": 4, "part_size": 8},
    }
    return settings_file(tmp_path_factory.mktemp("killed"), changes)


@pytest.fixture(scope="module")
def undisturbed(settings: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    vidclf(home, "run", "ingest/demo", "--config", settings)
    return snapshot_of(home, "dancing-demo").snapshot_id


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_resumes_to_the_same_snapshot(
    moment: str, settings: str, undisturbed: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    dataset = home / "store/datasets/dancing-demo"
    command = [sys.executable, "-m", "vidclf", "run", "ingest/demo", "--config", settings]
    environment = {**os.environ, "VIDCLF_HOME": str(home)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not any(dataset.glob(MOMENTS[moment])):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any("ffmpeg" in line for line in left_behind(home)):
        assert time.monotonic() < deadline, "ffmpeg outlived its run"
        time.sleep(0.1)
    settled_before = settled(dataset)

    vidclf_again = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert vidclf_again.returncode == 0, vidclf_again.stderr[-2000:]
    assert snapshot_of(home, "dancing-demo").snapshot_id == undisturbed
    assert not list(dataset.rglob(".*.tmp"))
    for key, entry in settled_before.items():
        assert settled(dataset)[key] == entry, "something settled was done again"
    latest = json.loads((dataset / "latest.json").read_text())
    assert latest["snapshot_id"] == undisturbed


def settled(dataset: Path) -> dict[tuple[str, str], Entry]:
    """(stage, key) → its last entry, of everything that is settled."""
    store = dataset_store(str(dataset.parents[1]), dataset.name)
    found = {}
    for stage in STAGES:
        for path in store.files(f"ledger/{stage}", ".parquet"):
            for recipe in set(store.read_table(path, ["recipe"])["recipe"].to_pylist()):
                entries = read_stage(store, stage, recipe)
                found |= {(stage, key): entry for key, entry in entries.items() if entry.settled}
    return found
