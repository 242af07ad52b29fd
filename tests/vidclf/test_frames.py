"""Frames are taken where they are said to be, in the size that was asked for, with their true times."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import VideoMaker, read_number
from tests.vidclf.numbered import X264, ffmpeg, write_numbered
from vidclf.config import ClipProfile, FramesConfig, parse
from vidclf.errors import ConfigError, Unreadable
from vidclf.media.cut import cut
from vidclf.media.frames import decode_jpeg, encode_jpeg, read_frames, recipe_of, sample_times
from vidclf.stages import frames as stage
from vidclf.storage import Store


def numbers(frames: np.ndarray) -> list[int]:
    return [read_number(frame) for frame in frames]


@pytest.mark.parametrize(("total", "num_frames"), [(75, 5), (75, 75), (100, 16), (10, 3), (7, 16), (1, 4)])
def test_frames_are_the_middles_of_equal_parts_of_the_video(
    make_video: VideoMaker, total: int, num_frames: int
) -> None:
    frames, times = read_frames(make_video(num_frames=total), num_frames, 48)
    expected = [(2 * k + 1) * total // (2 * num_frames) for k in range(num_frames)]
    assert numbers(frames) == expected
    assert np.allclose(times, [number / 25 for number in expected])


def test_frames_at_irregular_times_are_spread_over_time_and_not_over_their_count(tmp_path: Path) -> None:
    slow_then_fast = ["-vf", "settb=1/1000,setpts='if(lt(N,5),N*400,2000+(N-5)*40)'", "-fps_mode", "passthrough"]
    path = write_numbered(tmp_path / "a.mp4", [*slow_then_fast, "-enc_time_base", "1:1000", *X264.split()], 55)
    frames, times = read_frames(path, 4, 128)  # 5 frames in 2 s, 50 frames in 2 s
    assert numbers(frames) == [1, 3, 17, 42]
    assert np.allclose(times, [0.4, 1.2, 2.48, 3.48])


@pytest.mark.parametrize(("fps", "expected"), [(5, 15), (1, 3), (0.1, 1), (25, 75), (50, 150)])
def test_with_fps_the_number_of_frames_follows_the_duration(make_video: VideoMaker, fps: float, expected: int) -> None:
    frames, times = read_frames(make_video(num_frames=75), None, 48, fps=fps)
    middles = [(Fraction(2 * k + 1, 2 * expected) * 75).__floor__() for k in range(expected)]
    assert numbers(frames) == middles
    assert np.allclose(times, [number / 25 for number in middles])


def test_with_fps_a_long_clip_has_no_more_than_max_frames_and_still_its_whole_time(make_video: VideoMaker) -> None:
    frames, _ = read_frames(make_video(num_frames=100), None, 48, fps=25, max_frames=4)
    assert numbers(frames) == [12, 37, 62, 87]


def test_times_are_counted_from_the_first_frame(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mkv", [*X264.split(), "-output_ts_offset", "8.3"], 50)
    _, times = read_frames(path, 5, 128)
    assert np.allclose(times, [0.2, 0.6, 1.0, 1.4, 1.8])


def test_the_short_side_keeps_the_shape_and_an_exact_size_does_not(make_video: VideoMaker) -> None:
    video = make_video(size=(96, 64))
    assert read_frames(video, 2, 32)[0].shape == (2, 32, 48, 3)
    assert read_frames(video, 2, 500)[0].shape == (2, 64, 96, 3)
    assert read_frames(video, 2, None, size=(112, 112))[0].shape == (2, 112, 112, 3)
    assert read_frames(video, 2, None, size=(40, 20))[0].shape == (2, 20, 40, 3)


@pytest.mark.parametrize(("degrees", "turn"), [(90, "clock"), (180, "clock,transpose=clock"), (270, "cclock")])
def test_frames_of_a_turned_video_are_upright(tmp_path: Path, degrees: int, turn: str) -> None:
    lying = write_numbered(tmp_path / "a.mp4", ["-vf", f"transpose={turn}", *X264.split()], 25)
    ffmpeg("-display_rotation:v:0", degrees, "-i", lying, "-c", "copy", tmp_path / "turned.mp4")
    frames, _ = read_frames(tmp_path / "turned.mp4", 25, 80)
    assert frames.shape == (25, 80, 112, 3)
    assert numbers(frames) == list(range(25))
    assert read_frames(tmp_path / "turned.mp4", 1, None, size=(40, 20))[0].shape == (1, 20, 40, 3)


COLOURS = {"red": (200, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 200), "white": (250, 250, 250)}


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    ("coding", "full_range"),
    [*itertools.product(["bt601", "bt709", "bt2020", "untagged"], [False, True]), ("rgb", True), ("gif", True)],
)
def test_colours_are_the_same_in_the_source_the_clip_and_the_frames(
    tmp_path: Path, coding: str, full_range: bool, colour: str
) -> None:
    source = coloured(tmp_path, coding, full_range, COLOURS[colour])
    cut(source, None, None, ClipProfile(short_side=64, crf=5, preset="ultrafast"), tmp_path / "clip.mp4", 60)
    for path in (source, tmp_path / "clip.mp4"):
        frames, _ = read_frames(path, 2, 64)
        seen = np.stack([decode_jpeg(encode_jpeg(frame, 95)) for frame in frames])
        assert np.abs(seen.mean(axis=(0, 1, 2)) - COLOURS[colour]).max() <= 6, (
            path.name
        )  # a mean: a GIF has few colours


def coloured(folder: Path, coding: str, full_range: bool, colour: tuple[int, int, int]) -> Path:
    """A second of one colour, coded and tagged in a way of its own."""
    drawn = ("-f", "lavfi", "-i", "color=c=0x{:02x}{:02x}{:02x}:s=64x64:r=10:d=1,format=gbrp".format(*colour))
    if coding in ("rgb", "gif"):
        path = folder / ("source.gif" if coding == "gif" else "source.mp4")
        ffmpeg(*drawn, *(() if coding == "gif" else ("-c:v", "libx264rgb", "-crf", 5)), path)
        return path
    matrix, primaries, curve = {
        "bt601": ("smpte170m", "smpte170m", "smpte170m"),
        "untagged": ("smpte170m", "unknown", "unknown"),
        "bt709": ("bt709", "bt709", "bt709"),
        "bt2020": ("bt2020", "bt2020", "bt2020-10"),
    }[coding]
    bounds = "pc" if full_range else "tv"
    tagged = "unknown" if coding == "untagged" else "bt2020nc" if coding == "bt2020" else matrix
    tags = f"setparams=colorspace={tagged}:color_primaries={primaries}:color_trc={curve}:range={bounds}"
    converted = f"scale=out_color_matrix={matrix}:out_range={bounds},format=yuv420p,{tags}"
    ffmpeg(*drawn, "-vf", converted, "-c:v", "libx264", "-crf", 5, folder / "source.mp4")
    return folder / "source.mp4"


def test_sample_times_are_exact() -> None:
    assert sample_times(Fraction(3), 3, None, 9) == [Fraction(1, 2), Fraction(3, 2), Fraction(5, 2)]
    assert len(sample_times(Fraction(1001, 100), None, 29.97, 4096)) == 300


def test_a_file_without_frames_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(Unreadable):
        read_frames(tmp_path / "a.mp4", 4, 64)


def test_fps_and_size_take_the_place_of_the_defaults() -> None:
    assert FramesConfig().num_frames == 32
    by_rate = FramesConfig(fps=5, size=(112, 112))
    assert (by_rate.num_frames, by_rate.side_size) == (None, None)
    assert FramesConfig.model_validate(by_rate.model_dump()) == by_rate


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_frames": 16, "fps": 5}, "give either num_frames or fps; the other one is null"),
        ({"num_frames": None}, "give either num_frames or fps"),
        ({"side_size": 64, "size": [112, 112]}, "give either side_size or size"),
        ({"side_size": None}, "give either side_size or size"),
        ({"size": [112]}, "size"),
        ({"fps": 0}, "fps"),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(FramesConfig, values)


def test_a_preset_that_x264_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="'ultrafast', 'superfast'"):
        parse(ClipProfile, {"preset": "quick"})


def test_every_option_that_changes_the_bytes_changes_the_recipe() -> None:
    others = [
        FramesConfig(num_frames=16),
        FramesConfig(fps=5),
        FramesConfig(fps=5, max_frames=8),
        FramesConfig(side_size=64),
        FramesConfig(size=(112, 112)),
        FramesConfig(size=(112, 96)),
        FramesConfig(quality=80),
    ]
    recipes = [recipe_of("clips", config) for config in [FramesConfig(), *others]] + [recipe_of("other", others[0])]
    assert len(set(recipes)) == len(recipes)


def test_clips_of_different_lengths_are_stored_with_different_numbers_of_frames(
    make_video: VideoMaker, tmp_path: Path
) -> None:
    store = Store(tmp_path / "dataset")
    for name, count in (("short", 25), ("long", 75)):
        store.put_file(make_video(f"{name}.mp4", num_frames=count), f"clips/{name}.mp4")
    paths = ("clips/short.mp4", "clips/long.mp4")
    config = FramesConfig(fps=4, size=(32, 32))
    job = stage.Job(store=store, keys=("short", "long"), recipe="r", shard=0, paths=paths, frames=config)
    entries = stage.do(job)
    assert [entry.num_frames for entry in entries] == [4, 12]
    rows = store.read_table(f"frames/r/{job.part_id}.parquet").to_pylist()
    assert [len(row["frames"]) for row in rows] == [len(row["timestamps"]) for row in rows] == [4, 12]
    assert {(row["width"], row["height"]) for row in rows} == {(32, 32)}
