"""``vidclf.load(…).predict(…)``: which videos are meant, which part of them, and what is said of it."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import vidclf
from tests.conftest import VideoMaker
from tests.vidclf.untrained import evaluated, save_untrained, view_of
from vidclf.config import ClipProfile
from vidclf.data.view import StoredFrames, stored_frames
from vidclf.errors import ConfigError, OutOfRange, StorageError, Unreadable, Unsafe
from vidclf.media.cut import cut
from vidclf.media.frames import read_frames
from vidclf.predict.classifier import Classifier, load
from vidclf.predict.frames import view_frames, window_frames, windows_of
from vidclf.predict.inputs import find_videos
from vidclf.predict.span import Span
from vidclf.snapshot import read_snapshot
from vidclf.storage import Store

STORED = StoredFrames(num_frames=8, side_size=32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("models") / "untrained", view_of(STORED))


@pytest.fixture(scope="module")
def classifier(model: Path) -> Classifier:
    return load(model, device="cpu")


@pytest.mark.parametrize("reader", ["frames", "clips"])
def test_a_clip_gets_the_probabilities_that_the_evaluation_gives_it(
    ingested: Path, tmp_path: Path, reader: Any
) -> None:
    store = Store(ingested / "dataset")
    snapshot = read_snapshot(store)
    view = view_of(stored_frames(snapshot.made_by, reader), reader=reader, sampling_rate=1 if reader == "frames" else 2)
    folder = save_untrained(tmp_path / "model", view, snapshot.classes)
    expected = evaluated(folder, snapshot, store, "train", 3)
    paths = {row["clip_id"]: row["clip_path"] for row in snapshot.clips.to_pylist()}
    predicted = load(folder, device="cpu").predict([Path(store.full(paths[clip])) for clip in expected], num_views=3)
    assert np.ptp(list(expected.values()), axis=0).max() > 100 * 1e-5  # else agreement would say nothing
    for said, probabilities in zip(predicted, expected.values(), strict=True):
        assert [dict(said.labels)[name] for name in snapshot.classes] == pytest.approx(probabilities, abs=1e-5)


@pytest.mark.thorough
def test_a_part_of_a_video_gets_what_its_cut_gets(
    classifier: Classifier, make_video: VideoMaker, tmp_path: Path
) -> None:
    video = make_video(num_frames=75)
    cut(video, 1.0, 2.0, ClipProfile(), tmp_path / "clip.mp4", 60)
    (of_clip,) = classifier.predict([tmp_path / "clip.mp4"])
    (by_end,) = classifier.predict([video], start_time=1.0, end_time=2.0)
    (by_duration,) = classifier.predict([video], start_time=1.0, duration=1.0)
    (whole,) = classifier.predict([video])
    assert by_end.labels == by_duration.labels == of_clip.labels != whole.labels
    assert (by_end.start, by_end.end) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"start_time": 1.0}, "a start time is given, and no end time or duration"),
        ({"start_time": 1.0, "end_time": 2.0, "duration": 1.0}, "both given"),
        ({"start_time": 2.0, "end_time": 2.0}, "would end at 2 s, and begin at 2 s"),
        ({"end_time": 0.0}, "would end at 0 s"),
        ({"start_time": -1.0, "end_time": 2.0}, "the start time is -1: seconds from 0"),
        ({"duration": float("nan")}, "the duration is nan"),
    ],
)
def test_times_that_make_no_sense_are_refused_before_any_video_is_opened(
    classifier: Classifier, times: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        classifier.predict(["nothing.mp4"], **times)


@pytest.mark.parametrize("span", [Span(5.0, 6.0), Span(2.0, 9.0), Span(None, 9.0)])
def test_a_time_beyond_the_end_says_where_the_video_ends(make_video: VideoMaker, tmp_path: Path, span: Span) -> None:
    with pytest.raises(OutOfRange, match=r"asked for, but the video ends at 3\.00 s"):
        span.cut_out(make_video(num_frames=75), 32, tmp_path / "cut.mp4")


def test_what_lies_in_folders_and_fits_patterns_is_found_in_order(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/c.AVI", "a/.hidden.mp4", "a/notes.txt", "x[1].mp4", "odd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = partial(map, lambda path: os.path.relpath(path, tmp_path))
    assert list(found(find_videos(str(tmp_path)))) == ["a/c.AVI", "b.mp4", "x[1].mp4"]
    assert list(found(find_videos(f"{tmp_path}/**/*.AVI"))) == ["a/c.AVI"]
    assert list(found(find_videos(f"{tmp_path}/x[1].mp4"))) == ["x[1].mp4"]  # as it is called, not as a pattern
    assert list(found(find_videos((tmp_path / "odd").as_uri()))) == ["odd"]
    (tmp_path / "empty").mkdir()
    for asked, message in {
        "empty": "holds no video",
        "*.mkv": "nothing fits the pattern",
        "no.mp4": "nothing is there",
    }.items():
        with pytest.raises(ConfigError, match=message):
            find_videos(f"{tmp_path}/{asked}")


def test_videos_come_from_a_bucket_and_by_http(
    classifier: Classifier, make_video: VideoMaker, bucket: str, tmp_path: Path
) -> None:
    video = make_video("served/a video.mp4", num_frames=30)
    Store(f"{bucket}/deep").write_bytes("er/a.mp4", video.read_bytes())
    Store(bucket).write_bytes("notes.txt", b"no video")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        web = f"http://127.0.0.1:{server.server_port}"
        said = classifier.predict([video, bucket, f"{bucket}/*/*/a.mp4", f"{web}/a%20video.mp4?quality=1/2"])
        with pytest.raises(ConfigError, match=r"none\.mp4 is not a file: nothing is there"):
            classifier.predict([f"{web}/none.mp4"])
        server.shutdown()
    assert [one.labels for one in said] == [said[0].labels] * 4
    assert said[1].path == f"{bucket}/deep/er/a.mp4"
    with pytest.raises(ConfigError, match="nothing is there"):
        classifier.predict([f"{bucket}/none.mp4"])
    with pytest.raises(StorageError, match="cannot be fetched"):
        classifier.predict([f"{web}/a%20video.mp4"])  # nobody is there any more


def test_what_would_hang_or_mislead_a_decoder_is_refused(classifier: Classifier, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(Unsafe, match="not a regular file"):
        classifier.predict([tmp_path / "pipe.mp4"])
    (tmp_path / "playlist.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n")
    (tmp_path / "script.mp4").write_text("ffconcat version 1.0\nfile '/etc/hostname'\n")
    for name in ("playlist.mp4", "script.mp4"):
        with pytest.raises(Unreadable, match=name):
            classifier.predict([tmp_path / name])


def test_windows_cover_a_video_without_gaps_and_a_short_rest_joins_the_last(make_video: VideoMaker) -> None:
    video = make_video(num_frames=85)  # 3.4 s
    assert [(float(w.start), float(w.end)) for w in windows_of(video, 1.0)] == [(0, 1), (1, 2), (2, 3.4)]
    assert [(float(w.start), float(w.end)) for w in windows_of(video, 1.2)] == [(0, 1.2), (1.2, 2.4), (2.4, 3.4)]
    assert [(float(w.start), float(w.end)) for w in windows_of(video, 60.0)] == [(0, 3.4)]


@pytest.mark.parametrize("reader", ["frames", "clips"])
def test_a_window_has_the_frames_that_a_clip_cut_there_has(make_video: VideoMaker, tmp_path: Path, reader: Any) -> None:
    video = make_video(num_frames=100)
    view = view_of(StoredFrames(fps=12.5, side_size=64), reader=reader)
    windows = windows_of(video, 1.0)
    for window, seen in zip(windows, window_frames(video, view, 3, windows), strict=True):
        cut(video, float(window.start), float(window.end), ClipProfile(crf=0), tmp_path / "clip.mp4", 60)
        expected = view_frames(tmp_path / "clip.mp4", view, 3)
        np.testing.assert_array_equal(seen.positions, expected.positions)
        assert np.abs(seen.frames.astype(int) - expected.frames.astype(int)).mean() < 3  # one is encoded once more


def test_sliding_says_something_of_every_window(classifier: Classifier, make_video: VideoMaker) -> None:
    said = list(classifier.slide(make_video(num_frames=100), 1.0, top_k=2))
    assert [(one.start, one.end) for one in said] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
    assert all(len(one.labels) == 2 for one in said)
    assert len({one.labels for one in said}) > 1
    with pytest.raises(ConfigError, match="more than 0"):
        list(classifier.slide("x.mp4", 0))


def test_frames_go_through_jpeg_where_the_training_s_did(make_video: VideoMaker) -> None:
    video = make_video(num_frames=20)
    plain, _ = read_frames(video, 8, 32)
    assert np.array_equal(
        view_frames(video, view_of(STORED), 2).once(),
        plain[np.unique(view_frames(video, view_of(STORED), 2).positions)],
    )
    marked = view_frames(video, view_of(STORED.model_copy(update={"quality": 50})), 2)
    assert not np.array_equal(marked.once(), view_frames(video, view_of(STORED), 2).once())


def test_a_device_that_is_not_there_is_one_line(model: Path) -> None:
    for device in ("cuda:99", "toaster"):
        with pytest.raises(ConfigError, match=f"device '{device}'") as error:
            load(model, device=device)
        assert "\n" not in str(error.value)


@pytest.mark.thorough
def test_the_package_is_imported_without_anything_heavy() -> None:
    code = (
        "import sys, vidclf, vidclf.cli;"
        "heavy = {'torch', 'torchvision', 'mlflow', 'ray', 'prefect', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "assert callable(vidclf.load) and callable(vidclf.available_models);"
        "assert 'x3d_xs' in [spec.name for spec in vidclf.available_models()];"
        "assert not {'mlflow', 'ray', 'prefect'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        vidclf.nonsense  # noqa: B018


def test_the_average_rate_counts_a_window_s_frames_where_clips_keep_their_own(make_video: VideoMaker) -> None:
    video = make_video(num_frames=50, rate=Fraction(25))
    view = view_of(StoredFrames(side_size=64), reader="clips", sampling_rate=3)
    (seen,) = window_frames(video, view, 1, windows_of(video, 2.0))
    assert seen.positions.tolist() == [20, 23, 26, 29]
