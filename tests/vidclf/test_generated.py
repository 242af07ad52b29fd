"""Claims of the generated dancing set: reproducible, awkward where it says so, and told apart by motion alone."""

from __future__ import annotations

import hashlib
import itertools
import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path

import av
import numpy as np
import pytest
from scipy import stats

from vidclf.errors import Gone
from vidclf.generated.choreography import (
    AMPLITUDES,
    CLIPS_PER_CLASS,
    DANCES,
    GOPS,
    HOME,
    LABELS,
    RATES,
    REACH,
    Motion,
    Piece,
    State,
    Video,
    annotation_csv,
    annotation_rows,
    offsets,
    programme,
)
from vidclf.generated.drawing import draw
from vidclf.sources import Wanted, parse_source

SOURCE = parse_source({"kind": "generated"})


def fetch(video_id: str, into: Path) -> Path:
    return SOURCE.fetch(Wanted(video_id, video_id), into).path


def videos(state: State) -> list[Video]:
    return [video for video in programme(0).values() if video.state is state]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_packaged_csv_is_what_the_code_says_for_seed_0() -> None:
    packaged = files("vidclf.generated").joinpath("dancing.csv").read_text()
    assert packaged == annotation_csv(0)
    assert packaged.splitlines()[0] == "label,youtube_id,time_start,time_end,split"


def test_every_split_has_its_good_clips_of_every_class() -> None:
    counts = Counter((video.split, piece.label) for video in videos(State.GOOD) for piece in video.segments)
    assert counts == {(split, label): count for split, count in CLIPS_PER_CLASS.items() for label in LABELS}
    assert sum(count for (split, _), count in counts.items() if split == "test") >= 104


def test_ids_look_like_youtubes_and_some_start_like_an_option() -> None:
    ids = {row.youtube_id for row in annotation_rows(0)}
    assert len(ids) == len(programme(0))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{11}", video_id) for video_id in ids)
    assert {video_id[0] for video_id in ids} >= {"-", "_"}
    assert ids.isdisjoint(row.youtube_id for row in annotation_rows(1))


def test_another_dance_surrounds_every_segment() -> None:
    for video in programme(0).values():
        pieces = video.motion.pieces
        assert pieces[0].start == 0
        for before, after in itertools.pairwise(pieces):
            assert before.end == after.start
            assert before.label != after.label
        for segment in video.segments:
            assert segment.end - segment.start == 2
            assert 0 < segment.start < segment.end < video.seconds
    assert sum(len(video.segments) == 2 for video in videos(State.GOOD)) == 4


@pytest.mark.thorough
def test_the_same_id_gives_the_same_bytes_however_often_it_is_drawn(tmp_path: Path) -> None:
    for video in videos(State.GOOD)[:4]:
        assert len({digest(fetch(video.video_id, tmp_path)) for _ in range(6)}) == 1


def test_the_same_id_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    video_id = videos(State.GOOD)[0].video_id
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import sys, pathlib; from vidclf.sources import Wanted; from vidclf.sources.generated import Generated; "
        "Generated().fetch(Wanted(sys.argv[1], sys.argv[1]), pathlib.Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, f"{video_id}", str(elsewhere)], check=True, timeout=60)
    here = fetch(video_id, tmp_path)
    assert here == tmp_path / f"{video_id}.mp4"
    assert digest(here) == digest(elsewhere / here.name)


@pytest.mark.thorough
def test_files_have_the_rate_size_and_keyframes_that_they_declare(tmp_path: Path) -> None:
    for rate, gop in itertools.product(RATES, GOPS):
        video = next(video for video in videos(State.GOOD) if (video.rate, video.gop) == (rate, gop))
        with av.open(str(fetch(video.video_id, tmp_path))) as container:
            stream = container.streams.video[0]
            assert stream.average_rate == rate
            assert (stream.codec_context.width, stream.codec_context.height) == (video.width, video.height)
            frames = list(container.decode(stream))
        assert [frame.time for frame in frames] == pytest.approx(list(video.times), abs=1e-4)
        assert [index for index, frame in enumerate(frames) if frame.key_frame] == list(range(0, len(frames), gop))


def test_what_is_decoded_is_what_was_drawn(tmp_path: Path) -> None:
    video = videos(State.GOOD)[1]
    with av.open(str(fetch(video.video_id, tmp_path))) as container:
        decoded = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    drawn = [np.asarray(picture).astype(int) for picture in draw(video, 0)]
    assert len(decoded) == len(drawn)
    assert max(float(np.abs(one - other).mean()) for one, other in zip(decoded, drawn, strict=True)) < 6


def test_dead_and_unknown_ids_are_gone(tmp_path: Path) -> None:
    for video in videos(State.DEAD):
        with pytest.raises(Gone, match="on purpose"):
            fetch(video.video_id, tmp_path)
    for unknown in ("../../etc/passwd", "", annotation_rows(1)[0].youtube_id):
        with pytest.raises(Gone, match=r"dancing\.csv"):
            fetch(unknown, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_truncated_file_cannot_be_opened(tmp_path: Path) -> None:
    (video,) = videos(State.TRUNCATED)
    path = fetch(video.video_id, tmp_path)
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(path))


def test_the_audio_file_has_no_video_stream(tmp_path: Path) -> None:
    (video,) = videos(State.AUDIO_ONLY)
    with av.open(str(fetch(video.video_id, tmp_path))) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
        assert container.duration == pytest.approx(video.seconds * 1e6, rel=0.02)


def test_each_coordinate_of_a_single_frame_is_distributed_alike_in_all_classes() -> None:
    """One frame of each clip of seeds 0 to 9."""
    rng = np.random.default_rng(0)
    places: dict[str, list[np.ndarray]] = {label: [] for label in LABELS}
    for seed, (label, found) in itertools.product(range(10), places.items()):
        for video in programme(seed).values():
            for piece in video.segments:
                if piece.label == label:
                    found.append(offsets(video.motion, rng.uniform(piece.start, piece.end, 1))[0])
    for one, other in itertools.combinations(LABELS, 2):
        for axis in (0, 1):
            mine, theirs = np.array(places[one])[:, axis], np.array(places[other])[:, axis]
            # 12 comparisons: the threshold is that of 2 % for all of them together
            assert stats.ks_2samp(mine, theirs).pvalue > 0.002, (one, other, axis)


def test_who_sees_one_place_is_hardly_better_than_chance() -> None:
    """The best possible answer from one frame's place, from the two distributions that there are: tied phases or free."""
    rng = np.random.default_rng(0)
    count = 1_000_000
    amplitude, (home_x, home_y) = rng.uniform(*AMPLITUDES, count), rng.uniform(-HOME, HOME, (2, count))
    across, down = rng.uniform(-np.pi, np.pi, (2, count))
    edges = np.linspace(-0.3, 0.3, 31)
    free, tied = (
        np.histogram2d(home_x + amplitude * np.cos(across), home_y + amplitude * np.cos(other), (edges, edges))[0]
        / count
        for other in (down, across + np.pi / 2)
    )
    best = 0.25 * np.maximum(free, tied).sum()  # two classes have each distribution, so half of the right ones are luck
    assert 0.25 < best < 0.325


def test_one_circling_dance_is_the_other_played_backwards() -> None:
    across, period, seconds = 0.7, 1.5, 2.0
    times = np.linspace(0, seconds, 49)
    forwards = Motion((0.01, 0.02), 0.2, period, (Piece("belly dancing", 0, 2, across, across - np.pi / 2),))
    # the same end, seen in a mirror of time: phases change sign
    last = across + 2 * np.pi * seconds / period
    backwards = Motion((0.01, 0.02), 0.2, period, (Piece("swing dancing", 0, 2, -last, -last + np.pi / 2),))
    np.testing.assert_allclose(offsets(backwards, times), offsets(forwards, times)[::-1], atol=1e-12)


@pytest.mark.parametrize(("label", "direction"), [("belly dancing", 1), ("swing dancing", -1)])
def test_circles_go_round_one_way_only(label: str, direction: int) -> None:
    """The area that is swept, in squared amplitudes, is what tells the two apart."""
    for video in videos(State.GOOD):
        for piece in video.segments:
            if piece.label == label:
                path = offsets(video.motion, np.linspace(piece.start, piece.end - 1e-6, 200)) - np.array(
                    video.motion.home
                )
                x, y = (path / video.motion.amplitude).T
                swept = np.sum(x[:-1] * np.diff(y) - y[:-1] * np.diff(x)) / 2
                assert swept * direction > 3


def test_the_figure_stays_in_the_central_square() -> None:
    for video in programme(0).values():
        assert np.abs(offsets(video.motion, video.times)).max() + REACH < 0.49
    for video in videos(State.GOOD)[:8]:
        frames = np.stack([np.asarray(picture.convert("L")).astype(int) for picture in draw(video, 0)])
        scene = frames / frames.mean(axis=(1, 2), keepdims=True)
        changed = np.abs(scene - np.median(scene, axis=0)).max(axis=0) > 0.25
        rows, columns = np.nonzero(changed)
        short = min(video.width, video.height)
        assert len(rows)
        assert np.abs(columns + 0.5 - video.width / 2).max() <= short / 2
        assert np.abs(rows + 0.5 - video.height / 2).max() <= short / 2


def test_every_dance_has_a_row() -> None:
    assert {row.label for row in annotation_rows(0)} == set(DANCES)
