"""``vidclf predict``: what is printed and written, and the exit status."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.conftest import VideoMaker, read_number
from tests.vidclf.untrained import CLASSES, save_untrained, view_of
from vidclf.cli import main
from vidclf.data.view import StoredFrames
from vidclf.media.frames import read_frames
from vidclf.media.probe import probe_clip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    view = view_of(StoredFrames(num_frames=8, side_size=64), side_size=64, crop_size=64)
    return str(save_untrained(tmp_path_factory.mktemp("models") / "untrained", view))


def predict(*arguments: str | Path, status: int = 0) -> Result:
    done = CliRunner().invoke(main, ["predict", "--device", "cpu", *(str(argument) for argument in arguments)])
    assert done.exit_code == status, done.output
    return done


@pytest.mark.thorough
def test_a_video_is_one_line_with_its_likeliest_labels_first(model: str, make_video: VideoMaker) -> None:
    video = make_video()
    (line,) = predict(video, "--model", model, "--top-k", "2").stdout.splitlines()
    assert line.startswith(f"{video}  ")
    (said,) = json.loads(predict(video, "--model", model, "--json").stdout)
    first, second, third = said["predictions"][0]["labels"]
    assert first["probability"] >= second["probability"] >= third["probability"]
    assert {one["label"] for one in (first, second, third)} == set(CLASSES)
    assert line.split("  ")[1] == ", ".join(f"{one['label']} {one['probability']:.1%}" for one in (first, second))


def test_csv_has_a_row_for_each_label_and_each_failure(model: str, make_video: VideoMaker, tmp_path: Path) -> None:
    video, text = make_video(), tmp_path / "text.mp4"
    text.write_text("no video")
    done = predict(video, text, "--model", model, "--csv", "--start-time", "1", "--duration", "1", status=1)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["video"], row["rank"]) for row in rows] == [(str(video), r) for r in "123"] + [(str(text), "")]
    assert [(row["start"], row["end"]) for row in rows[:3]] == [("1.0", "2.0")] * 3
    assert sum(float(row["probability"]) for row in rows[:3]) == pytest.approx(1, abs=1e-4)
    assert rows[3]["error"]
    assert {row["label"] for row in rows[:3]} == set(CLASSES)


def test_each_failure_is_one_line_and_the_good_ones_are_answered(
    model: str, make_video: VideoMaker, tmp_path: Path
) -> None:
    good, short = make_video("good.mp4", num_frames=75), make_video("short.mp4", num_frames=25)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    bad = (tmp_path / "text.mp4", tmp_path / "missing.mp4", tmp_path / "empty", short)
    done = predict(*bad, good, "--model", model, "--start-time", "1.5", "--end-time", "2.5", status=1)
    assert done.stdout.startswith(f"{good}  1.5–2.5 s  ")
    assert len(done.stdout.splitlines()) == 1
    said = done.stderr.splitlines()
    assert len(said) == len(bad)
    for path, line in zip(bad, sorted(said, key=lambda line: [str(b) in line for b in bad].index(True)), strict=True):
        assert line.startswith("vidclf: ")
        assert line.count(path.name) == 1
    answers = json.loads(
        predict(*bad, good, "--model", model, "--start-time", "1.5", "--end-time", "2.5", "--json", status=1).stdout
    )
    kinds = {Path(one["video"]).name: one.get("error", {}).get("kind") for one in answers}
    assert kinds == {
        "text.mp4": "unreadable", "missing.mp4": "config", "empty": "config", "short.mp4": "out_of_range", "good.mp4": None,
    }  # fmt: skip


@pytest.mark.parametrize("bad", ["text.mp4", "missing.mp4", "empty", "short.mp4"])
def test_a_failure_alone_is_status_2(model: str, make_video: VideoMaker, tmp_path: Path, bad: str) -> None:
    make_video("short.mp4", num_frames=5)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    done = predict(tmp_path / bad, "--model", model, "--end-time", "2.5", status=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / bad) in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["x.mp4", "--start-time", "3"], "no end time or duration"),
        (["x.mp4", "--start-time", "3", "--end-time", "2"], "would end at 2 s, and begin at 3 s"),
        (["x.mp4", "--duration", "-1"], "no number of seconds"),
        (["x.mp4", "--keep-cut"], "nothing to keep"),
        (["x.mp4", "--sliding", "0"], "more than 0 seconds"),
        (["x.mp4", "--split", "test"], "--split is for --dataset"),
        (["x.mp4", "--dataset", "d", "--output", "o"], "VIDEOS is for videos, not for --dataset"),
        (["--dataset", "d"], "--dataset needs --output"),
        ([], "name at least one video"),
        (["x.mp4", "--top-k", "0"], "top-k"),
    ],
)
def test_a_wrong_request_is_status_2_before_anything_is_loaded(options: list[str], message: str) -> None:
    assert message in predict(*options, "--model", "no/such/model", status=2).stderr


def test_a_model_that_is_not_there_is_one_line(make_video: VideoMaker, tmp_path: Path) -> None:
    done = predict(make_video(), "--model", tmp_path / "none", status=2)
    assert done.stderr.splitlines() == [f"vidclf: {tmp_path / 'none'} is no finished checkpoint: it has no model.json"]


def test_the_cut_is_kept_beside_the_video_and_has_exactly_its_frames(model: str, make_video: VideoMaker) -> None:
    video = make_video("folder/dance.mp4", num_frames=75, size=(192, 128))
    done = predict(video, "--model", model, "--start-time", "1", "--end-time", "2", "--keep-cut")
    kept = video.with_name("dance_cut.mp4")
    assert f"written: {kept}" in done.stdout
    assert probe_clip(kept).num_frames == 25
    frames, _ = read_frames(kept, 25, 128)
    assert [read_number(frame) for frame in frames] == list(range(25, 50))


def test_videos_of_one_name_keep_their_cuts_apart(model: str, make_video: VideoMaker, tmp_path: Path) -> None:
    make_video("a/dance.mp4"), make_video("b/dance.mp4", num_frames=80)
    out = tmp_path / "out"
    predict(tmp_path, "--model", model, "--end-time", "1", "--keep-cut", "--into", out)
    assert sorted(path.name for path in out.iterdir()) == ["dance_cut-2.mp4", "dance_cut.mp4"]


def test_frames_are_kept_as_the_model_sees_them_and_removed_where_asked(
    model: str, make_video: VideoMaker, tmp_path: Path
) -> None:
    video, folder = make_video("dance.mp4", num_frames=80, size=(96, 64)), tmp_path / "frames"
    predict(video, "--model", model, "--save-frames-path", folder, "--num-views", "5")
    kept = sorted((folder / "dance").iterdir())
    assert [path.name for path in kept] == [f"{number:05d}.jpg" for number in range(1, 9)]
    numbers = [read_number(np.asarray(Image.open(path))) for path in kept]
    assert numbers == list(range(5, 80, 10))  # the middles of eight equal parts
    (folder / "dance" / "mine.txt").touch()
    predict(video, "--model", model, "--save-frames-path", folder, "--rm-frames")
    assert [path.name for path in (folder / "dance").iterdir()] == ["mine.txt"]


@pytest.mark.thorough
def test_sliding_is_a_table_and_a_picture(model: str, make_video: VideoMaker, tmp_path: Path) -> None:
    video = make_video("long $x_.mp4", num_frames=150)
    done = predict(video, "--model", model, "--sliding", "2", "--into", tmp_path / "out")
    lines = done.stdout.splitlines()
    assert [line.split("  ")[1] for line in lines[1:4]] == ["0.0–2.0 s", "2.0–4.0 s", "4.0–6.0 s"]
    with Image.open(tmp_path / "out" / "long $x__timeline.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 200
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 10  # something is drawn
    part = json.loads(
        predict(
            video,
            "--model",
            model,
            "--sliding",
            "1",
            "--into",
            tmp_path,
            "--start-time",
            "2",
            "--end-time",
            "4",
            "--top-k",
            "1",
            "--json",
        ).stdout
    )
    assert [(one["start"], one["end"]) for one in part[0]["predictions"]] == [(2.0, 3.0), (3.0, 4.0)]
    assert [len(one["labels"]) for one in part[0]["predictions"]] == [1, 1]


def test_a_video_that_is_named_twice_is_answered_once(model: str, make_video: VideoMaker, tmp_path: Path) -> None:
    make_video("videos/a.mp4")
    done = predict(tmp_path / "videos", tmp_path / "videos/a.mp4", f"{tmp_path}/videos/*.mp4", "--model", model)
    assert len(done.stdout.splitlines()) == 1
