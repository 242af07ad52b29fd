"""The whole main job on small real inputs: Prefect's server, Ray, Ray Train and MLflow are real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pyarrow.compute as pc
import pytest
import yaml

from tests.conftest import SHARED, VideoMaker
from vidclf.media.frames import read_frames
from vidclf.media.probe import probe_clip
from vidclf.snapshot import Snapshot, dataset_store, read_snapshot

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
REAL = SHARED / "real-clips"
MODELS = ("cnn_lstm", "x3d_xs")
INGEST = {
    "dataset": "real",
    "annotations": {"path": str(REAL / "annotations.csv"), "label_contains": None},
    "sources": [{"kind": "folder", "path": str(REAL / "videos")}],
    "clips": {"short_side": 128},
    "frames": {"num_frames": 16, "side_size": 64},
    "augment": {"target_per_class": 8, "horizontal_flip": True},
    "publish": {"min_ok_share": 0.9},
}


def vidclf(home: Path, *arguments: str, status: int = 0, timeout: float = 550) -> subprocess.CompletedProcess[str]:
    """Run the command line in the project's folder with a home of its own, and leave no process behind."""
    environment = {**os.environ, "VIDCLF_HOME": str(home)}
    command = [sys.executable, "-m", "vidclf", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == status, done.stderr[-3000:]
    assert not left_behind(home)
    return done


def left_behind(home: Path) -> list[str]:
    """Processes that still carry this home in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("VIDCLF_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def snapshot_of(home: Path, dataset: str) -> Snapshot:
    return read_snapshot(dataset_store(str(home / "store"), dataset))


def settings_file(folder: Path, settings: dict[str, Any]) -> str:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


@pytest.fixture(scope="module")
def real_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the real clips are ingested."""
    if not REAL.exists():
        pytest.skip("the real footage is not here")
    folder = tmp_path_factory.mktemp("real")
    settings = {**INGEST, "execution": {"num_shards": 3, "part_size": 5}}
    vidclf(folder / "home", "run", "ingest/demo", "--config", settings_file(folder, settings))
    return folder / "home"


def test_every_real_annotation_has_its_row_and_its_reason(real_home: Path) -> None:
    clips = snapshot_of(real_home, "real").clips
    rows = {row["annotation_id"]: row for row in clips.to_pylist()}
    assert len(rows) == 51
    failed = {row["annotation_id"]: row["error_kind"] for row in rows.values() if row["status"] == "failed"}
    assert failed == {
        "missingvid1_000000_000002": "gone",
        "missingvid2_000005_000007": "gone",
        "armwrestl01_000012_000014": "out_of_range",
    }
    assert rows["chaplinact1_000008_000010"]["duration"] == pytest.approx(1.64, abs=0.001)
    for row in rows.values():
        if row["status"] == "ok" and row["annotation_id"] != "chaplinact1_000008_000010":
            assert row["duration"] == pytest.approx(2.0, abs=1 / row["fps"])
    store = real_home / "store/datasets/real"
    for row in rows.values():
        if row["status"] == "ok":
            assert (store / row["clip_path"]).stat().st_size == row["bytes"]
            assert min(row["width"], row["height"]) <= 128


def test_classes_are_filled_up_with_variants(real_home: Path) -> None:
    rows = [row for row in snapshot_of(real_home, "real").clips.to_pylist() if row["split"] == "train"]
    have: Counter[str] = Counter()
    for row in rows:
        if row["status"] == "ok":
            have[row["label"]] += 1 + row["num_variants"]
    assert set(have.values()) == {8}


def test_the_first_frame_of_a_cut_shows_the_time_it_was_cut_at(real_home: Path) -> None:
    """The test card's frames are numbered by position: a cut's frames are the source's, one by one."""
    video = REAL / "videos" / "timecode001.mp4"
    source, _ = read_frames(video, probe_clip(video).num_frames, 96)
    folder = real_home / "store/datasets/real"
    for row in snapshot_of(real_home, "real").clips.to_pylist():
        if row["source_id"] == "timecode001":
            clip, _ = read_frames(folder / row["clip_path"], row["num_frames"], 96)
            first = int(row["time_start"] * 25)
            for number in (0, len(clip) - 1):
                distances = [abs(clip[number].astype(int) - frame.astype(int)).mean() for frame in source]
                assert min(range(len(source)), key=distances.__getitem__) == first + number


def test_a_second_run_does_nothing_again_and_publishes_the_same(real_home: Path, tmp_path: Path) -> None:
    before = snapshot_of(real_home, "real").snapshot_id
    ledger = real_home / "store/datasets/real/ledger"
    files = sorted(ledger.rglob("*.parquet"))
    settings = {**INGEST, "execution": {"num_shards": 3, "window": 3, "max_in_flight": 1}}
    vidclf(real_home, "run", "ingest/demo", "--config", settings_file(tmp_path, settings))
    assert snapshot_of(real_home, "real").snapshot_id == before
    assert sorted(ledger.rglob("*.parquet")) == files


@pytest.fixture(scope="module")
def compared(real_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two models trained on the real clips for two epochs, and compared on their validation split."""
    data = {"num_frames": 4, "sampling_rate": 2, "side_size": 48, "crop_size": 48}
    optim = {"epochs": 2, "batch_size": 8, "learning_rate": 0.001}
    approaches: dict[str, Any] = {name: {"model": name, "data": data, "optim": optim} for name in MODELS}
    approaches["frame_cnn"] = None  # of the deployment's own, this one is left out
    settings = {"dataset": "real", "experiment": "real", "split": "val", "approaches": approaches, "opposites": None}
    path = settings_file(tmp_path_factory.mktemp("compare"), settings)
    first = vidclf(real_home, "run", "compare/demo", "--config", path)
    return {"settings": path, "home": real_home, "stdout": first.stdout}


@pytest.mark.filterwarnings("default")  # MLflow, in this process, has some of its own
def test_models_train_on_real_clips_and_are_in_mlflow(
    compared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("VIDCLF_HOME", str(compared["home"]))
    from vidclf.tracking import client

    mlflow_client = client()
    experiment = mlflow_client.get_experiment_by_name("real")
    runs = {
        run.data.tags["vidclf.work"].rsplit("-", 1)[0]: run
        for run in mlflow_client.search_runs([experiment.experiment_id])
    }
    snapshot = snapshot_of(compared["home"], "real")
    for model in MODELS:
        run = runs[model]
        assert run.info.status == "FINISHED"
        assert (run.data.params["model"], run.data.params["optim.epochs"]) == (model, "2")
        history = mlflow_client.get_metric_history(run.info.run_id, "val_loss")
        assert [metric.step for metric in history] == [1, 2]
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("real", snapshot.snapshot_id)
        assert mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/classes.json") == {"classes": snapshot.classes}
        (logged,) = run.outputs.model_outputs
        said = mlflow.pyfunc.load_model(f"models:/{logged.model_id}").predict([str(REAL / "videos/timecode001.mp4")])
        assert said[0]["label"] in snapshot.classes
        assert 0 < said[0]["score"] <= 1
    table = mlflow.artifacts.load_dict(f"runs:/{runs['compare-real-val'].info.run_id}/comparison.json")
    assert len(table["data"]) == len(MODELS)
    pictures = [file.path for file in mlflow_client.list_artifacts(runs["compare-real-val"].info.run_id)]
    assert "comparison.png" in pictures


def test_the_comparison_says_how_many_videos_and_how_many_are_missing(compared: dict[str, Any]) -> None:
    ok = pc.sum(
        pc.and_(
            *(
                pc.equal(snapshot_of(compared["home"], "real").clips[c], v)
                for c, v in (("split", "val"), ("status", "ok"))
            )
        )
    ).as_py()
    said = " ".join(compared["stdout"].split())
    assert f"split val: {ok} videos, 1 more are missing; 3 views each" in said
    assert all(name in said for name in MODELS)


def test_comparing_again_trains_nothing_again(compared: dict[str, Any]) -> None:
    states = {path: path.stat().st_mtime for path in (compared["home"] / "store/models").glob("*/model.json")}
    assert len(states) == len(MODELS)
    again = vidclf(compared["home"], "run", "compare/demo", "--config", compared["settings"])
    assert states == {path: path.stat().st_mtime for path in (compared["home"] / "store/models").glob("*/model.json")}
    assert again.stdout == compared["stdout"]


def test_a_dataset_can_be_shown_for_people_and_machines(real_home: Path) -> None:
    uri = str(real_home / "store/datasets/real")
    assert "silent film acting" in vidclf(real_home, "dataset", "show", uri).stdout
    shown = json.loads(vidclf(real_home, "dataset", "show", uri, "--json").stdout)
    assert (shown["annotations"], shown["status"]) == (51, {"failed": 3, "ok": 48})


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "ingest/demo", "--set", "dataset=a/b"], "setting 'dataset' is 'a/b'"),
        (["run", "train/demo", "--set", "model=resnet"], "model 'resnet' is unknown"),
        (["run", "train/demo", "--set", "dataset=nothing"], "has no snapshot yet: run an ingest first"),
        (["run", "ingest/demo", "--set", "store=/dev/null/store"], "cannot be written"),
        (["run", "ingest/demo", "--set", "annotations.path=pyproject.toml"], "in no known layout"),
        (["run", "ingest/demo", "--config", "nowhere.yaml"], "nowhere.yaml: No such file or directory"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_status_2(arguments: list[str], complaint: str, own_home: Path) -> None:
    said = vidclf(own_home, *arguments, status=2).stderr.strip().splitlines()
    assert len([line for line in said if line.startswith("vidclf: ")]) == 1
    assert complaint in said[-1]
    assert not (own_home / "store" / "datasets" / "dancing-demo" / "latest.json").exists()


def test_columns_that_are_missing_are_named(own_home: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("label,video\na,b\n")
    said = vidclf(own_home, "run", "ingest/demo", "--set", f"annotations.path={table}", status=2).stderr
    assert "columns youtube_id, time_start, time_end, split missing" in said


def test_too_many_failures_are_not_published(own_home: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("label,youtube_id,time_start,time_end,split\ntap dancing,nothing,1,2,train\n")
    said = vidclf(own_home, "run", "ingest/demo", "--set", f"annotations.path={table}", status=1).stderr
    assert "only 0.0% of the clips are ok (1 gone)" in said
    dataset = own_home / "store/datasets/dancing-demo"
    assert not (dataset / "latest.json").exists()
    assert len(list((dataset / "snapshots").iterdir())) == 1


def test_a_folder_of_ones_own_becomes_a_dataset(own_home: Path, tmp_path: Path, make_video: VideoMaker) -> None:
    for split, label, name in [
        ("train", "a", "1.mp4"),
        ("train", "b", "-2 odd.mkv"),
        ("val", "a", "ä.mp4"),
        ("val", "b", "4.mp4"),
    ]:
        make_video(f"videos/{split}/{label}/{name}", num_frames=20)
    folder = str(tmp_path / "videos")
    settings = {"annotations": {"path": folder}, "sources": [{"kind": "folder", "path": folder}]}
    vidclf(own_home, "run", "ingest/folder", "--config", settings_file(tmp_path, settings))
    rows = snapshot_of(own_home, "mine").clips.to_pylist()
    assert sorted((row["split"], row["label"], row["status"], row["num_frames"]) for row in rows) == [
        ("train", "a", "ok", 20), ("train", "b", "ok", 20), ("val", "a", "ok", 20), ("val", "b", "ok", 20),
    ]  # fmt: skip
