"""Frame-exact cuts: on videos whose every frame carries its number, whatever the codec, container, rate and start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.vidclf.numbered import SIZE, X264, ffmpeg, read_numbers, write_numbered
from vidclf.config import ClipProfile
from vidclf.errors import OutOfRange, TooShort
from vidclf.media.cut import cut
from vidclf.media.ffmpeg import cut_command
from vidclf.media.probe import probe_source, survey

PROFILE = ClipProfile(short_side=128, crf=10, preset="ultrafast", min_duration=0)
Times = tuple[float | None, float | None]

X265 = "-c:v libx265 -preset ultrafast -x265-params pools=1:frame-threads=1:log-level=error"
VPX = "-deadline good -cpu-used 5 -threads 1 -auto-alt-ref 1 -lag-in-frames 16 -b:v 400k -g 60"


@dataclass(frozen=True)
class Kind:
    """A sort of source: file ending, and encoder's arguments."""

    suffix: str
    encoder: str


#: 8 s each, at 25 frames per second.
KINDS = {
    "h264, gop 12, B-frames": Kind("mp4", f"{X264} -g 12 -bf 3"),
    "h264, gop 250, B-frames": Kind("mp4", f"{X264} -g 250 -bf 3"),
    "h264, gop 250, no B-frames": Kind("mp4", f"{X264} -g 250 -bf 0"),
    "h264, open gop": Kind("mp4", f"{X264} -x264-params open-gop=1:keyint=25:min-keyint=25:bframes=3:scenecut=0"),
    "h264, intra refresh": Kind("mp4", f"{X264} -x264-params intra-refresh=1:keyint=50"),
    "h264, no edit list": Kind("mp4", f"{X264} -g 50 -bf 3 -use_editlist 0"),
    "h264, negative composition offsets": Kind("mp4", f"{X264} -g 50 -bf 3 -movflags negative_cts_offsets"),
    "h264, fragmented": Kind("mp4", f"{X264} -g 50 -bf 3 -movflags frag_keyframe+empty_moov"),
    "h264 in matroska": Kind("mkv", f"{X264} -g 250 -bf 3"),
    "h264 in a transport stream": Kind("ts", f"{X264} -g 50 -bf 3"),
    "h264, interlaced, in a transport stream": Kind("ts", f"{X264} -g 50 -bf 3 -x264-params interlaced=1"),
    "h264 in flv": Kind("flv", f"{X264} -g 50 -bf 3"),
    "hevc": Kind("mp4", f"{X265}:keyint=250:bframes=3"),
    "hevc, open gop": Kind("mkv", f"{X265}:open-gop=1:keyint=25:bframes=3"),
    "vp9, alt-ref": Kind("webm", f"-c:v libvpx-vp9 {VPX}"),
    "vp8, alt-ref": Kind("webm", f"-c:v libvpx {VPX}"),
    "av1": Kind("mkv", "-c:v libaom-av1 -cpu-used 8 -usage realtime -threads 1 -crf 20 -g 60"),
    "av1 in mp4": Kind("mp4", "-c:v libsvtav1 -preset 12 -crf 15 -g 60 -svtav1-params lp=1"),
    "mpeg4 in avi": Kind("avi", "-c:v mpeg4 -q:v 3 -g 50"),
    "mpeg4 in avi, B-frames": Kind("avi", "-c:v mpeg4 -q:v 3 -g 50 -bf 2"),
    "mpeg2 in a program stream": Kind("mpg", "-c:v mpeg2video -q:v 3 -g 15 -bf 2"),
    "mpeg2 in a transport stream": Kind("ts", "-c:v mpeg2video -q:v 3 -g 15 -bf 2"),
    "wmv": Kind("wmv", "-c:v wmv2 -q:v 3 -g 50"),
    "theora": Kind("ogv", "-c:v libtheora -q:v 9 -g 50"),
    "animated gif": Kind("gif", ""),
    "start at 8.3 s": Kind("mp4", f"{X264} -g 50 -bf 3 -output_ts_offset 8.3"),
    "start at 8.3 s in matroska": Kind("mkv", f"{X264} -g 50 -bf 3 -output_ts_offset 8.3"),
    "start at 8.3 s in a transport stream": Kind("ts", f"{X264} -g 50 -bf 3 -output_ts_offset 8.3"),
}

#: Whole seconds, fractions, between frames, at frames' own times, the first frame, the last one, beyond the end.
SEGMENTS: list[Times] = [
    (1, 3), (5, 6), (4.01, 4.21), (0.52, 2.48), (0, 0.04), (7.96, 8), (7, 19), (6.76, 7.44), (0, 1), (2, 2.5), (None, None)
]  # fmt: skip
QUICK = SEGMENTS[1:3]  # for every source; the others are slow only because there are so many

Source = Callable[[str], tuple[Path, list[float]]]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A source of ``KINDS``, made once, and the times of its frames from the first one's, as decoding tells them."""
    folder, made = tmp_path_factory.mktemp("numbered"), {}

    def make(name: str) -> tuple[Path, list[float]]:
        if name not in made:
            kind = KINDS[name]
            path = write_numbered(folder / f"{len(made)}.{kind.suffix}", kind.encoder.split(), 200)
            numbers, times = read_numbers(path)
            assert numbers == list(range(200))
            made[name] = path, [time - times[0] for time in times]
        return made[name]

    return make


def expected_numbers(times: list[float], segment: Times) -> list[int]:
    """The frames whose time, from the first one's, is inside the segment: to the microsecond."""
    start, end = segment[0] or 0.0, segment[1] if segment[1] is not None else float("inf")
    return [n for n, time in enumerate(times) if round(time, 6) >= round(start, 6) and round(time, 6) < round(end, 6)]


def assert_exact(path: Path, times: list[float], segment: Times, to: Path, profile: ClipProfile = PROFILE) -> None:
    clip = cut(path, *segment, profile, to, 60)
    expected = expected_numbers(times, segment)
    numbers, shown_at = read_numbers(to)
    assert numbers == expected, segment
    assert clip.num_frames == len(expected)
    exactly = 0.041 if path.suffix == ".mpg" else 0.0011  # a program stream has no time of its own for every frame
    assert np.allclose(shown_at, [times[n] - times[expected[0]] for n in expected], atol=exactly), segment
    assert min(clip.width, clip.height) == 128


@pytest.mark.parametrize("name", KINDS)
def test_a_clip_holds_exactly_the_frames_of_its_segment(source: Source, tmp_path: Path, name: str) -> None:
    for segment in QUICK:
        assert_exact(*source(name), segment, tmp_path / "clip.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_clip_is_exact_wherever_its_segment_begins_and_ends(source: Source, tmp_path: Path, name: str) -> None:
    for segment in SEGMENTS:
        assert_exact(*source(name), segment, tmp_path / "clip.mp4")


@pytest.mark.parametrize("segment", SEGMENTS, ids=str)
def test_a_long_gop_with_b_frames_is_exact_in_every_segment(source: Source, tmp_path: Path, segment: Times) -> None:
    assert_exact(*source("h264, gop 250, B-frames"), segment, tmp_path / "clip.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("rate", ["24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "25/2"])
def test_every_frame_rate_is_cut_at_its_frames_own_times(tmp_path: Path, rate: str, suffix: str) -> None:
    path = write_numbered(tmp_path / f"a.{suffix}", f"{X264} -g 250 -bf 3".split(), 120, rate)
    times = [float(n / Fraction(rate)) for n in range(120)]
    if suffix == "mkv":  # keeps milliseconds only, so a frame's own time is a rounded one
        times = [round(time, 3) for time in times]
    for segment in [(times[60], times[90]), (1.0, 1.5), (times[0], times[1]), (times[119], None)]:
        assert_exact(path, times, segment, tmp_path / "clip.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_at_irregular_times_keep_them(tmp_path: Path, suffix: str) -> None:
    irregular = [
        "-vf",
        r"settb=1/1000,setpts=N*40+mod(N*17\,23)",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "1:1000",
    ]
    path = write_numbered(tmp_path / f"a.{suffix}", [*irregular, *f"{X264} -g 250 -bf 3".split()], 150)
    times = [(n * 40 + n * 17 % 23) / 1000 for n in range(150)]
    for segment in [(1.0, 3.0), (3.218, 3.3), (0, 0.5), (times[149], None), (times[100], times[120])]:
        assert_exact(path, times, segment, tmp_path / "clip.mp4")


@pytest.mark.parametrize(("degrees", "turn"), [(90, "clock"), (180, "clock,transpose=clock"), (270, "cclock")])
def test_what_is_shown_turned_comes_out_upright(tmp_path: Path, degrees: int, turn: str) -> None:
    lying = write_numbered(tmp_path / "a.mp4", ["-vf", f"transpose={turn}", *f"{X264} -g 50".split()], 75)
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation:v:0", degrees, "-i", lying, "-c", "copy", turned)
    assert_exact(turned, [n / 25 for n in range(75)], (1.0, 2.0), tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        frame = next(clip.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (round(SIZE[0] * 128 / SIZE[1] / 2) * 2, 128, 0)


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    narrow = write_numbered(tmp_path / "a.mp4", ["-vf", "setsar=4/3", *X264.split()], 30)
    clip = cut(narrow, None, None, PROFILE, tmp_path / "clip.mp4", 60)
    assert (clip.width, clip.height) == (2 * round(SIZE[0] * 4 / 3 * 128 / SIZE[1] / 2), 128)
    with av.open(str(tmp_path / "clip.mp4")) as made:
        assert made.streams.video[0].sample_aspect_ratio == 1


@pytest.mark.parametrize(("rate", "fps"), [("24", 30), ("25", 12.5), ("30", 10), ("30000/1001", 25), ("25", 25)])
def test_another_frame_rate_shows_what_the_source_shows_in_the_middle_of_each_frame(
    tmp_path: Path, rate: str, fps: float
) -> None:
    path = write_numbered(tmp_path / "a.mp4", f"{X264} -g 250 -bf 3".split(), 120, rate)
    profile = PROFILE.model_copy(update={"fps": fps})
    step = 1 / Fraction(rate)
    for segment in [(1.0, 3.0), (0.5, 2.0), (None, None)]:
        clip = cut(path, *segment, profile, tmp_path / "clip.mp4", 60)
        inside = expected_numbers([float(n * step) for n in range(120)], segment)
        duration = len(inside) * step
        count = int(duration * Fraction(fps) + Fraction(1, 2))
        middles = [(position + Fraction(1, 2)) / Fraction(fps) for position in range(count)]
        shown = [inside[min(int(middle / step), len(inside) - 1)] for middle in middles]
        numbers, times = read_numbers(tmp_path / "clip.mp4")
        exact = [n for n, middle in enumerate(middles) if (middle / step).denominator != 1]  # no frame ends just there
        assert clip.num_frames == len(numbers) == count
        assert [numbers[n] for n in exact] == [shown[n] for n in exact]
        assert np.allclose(times, [n / fps for n in range(count)], atol=1e-4)


def test_the_hidden_frames_of_vp8_are_not_counted(tmp_path: Path) -> None:
    path, log = tmp_path / "a.webm", tmp_path / "log"
    encoder = [*f"-c:v libvpx {VPX} -lag-in-frames 25 -passlogfile".split(), str(log)]
    write_numbered(tmp_path / "first.webm", [*encoder, "-pass", "1"], 200)
    write_numbered(path, [*encoder, "-pass", "2"], 200)
    with av.open(str(path)) as container:
        assert sum(1 for packet in container.demux(video=0) if packet.size) > 200
    _, segment = survey(path, 1.0, 7.0, 1.0)
    assert segment.num_frames == 150
    assert_exact(path, [n / 25 for n in range(200)], (1.0, 7.0), tmp_path / "clip.mp4")


def test_frames_that_an_edit_list_hides_do_not_count(source: Source, tmp_path: Path) -> None:
    whole, _ = source("h264, gop 250, B-frames")
    shortened = tmp_path / "shortened.mp4"
    ffmpeg("-ss", 1.3, "-i", whole, "-c", "copy", shortened)  # keeps the frames from the key frame on, and hides them
    shown, times = read_numbers(shortened)
    assert shown == list(range(33, 200))
    for segment in [(0, 1), (2, 3), (4.6, 5.2), (None, None)]:
        cut(shortened, *segment, PROFILE, tmp_path / "clip.mp4", 60)
        assert read_numbers(tmp_path / "clip.mp4")[0] == [33 + n for n in expected_numbers(times, segment)]


def test_a_segment_after_the_end_is_out_of_range_and_one_between_two_frames_is_too_short(
    source: Source, tmp_path: Path
) -> None:
    path, _ = source("h264, gop 12, B-frames")
    with pytest.raises(OutOfRange, match=r"begins at 9 s, but the video ends at 8\.00 s"):
        cut(path, 9.0, 10.0, PROFILE, tmp_path / "clip.mp4", 60)
    with pytest.raises(TooShort, match=r"no frame begins between 1\.01 s and 1\.03 s"):
        cut(path, 1.01, 1.03, PROFILE, tmp_path / "clip.mp4", 60)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("a.mp4", "-c:v libx264 -c:a aac"),
        ("a.mkv", "-c:v libx264 -c:a ac3 -ac 6"),
        ("a.ts", "-c:v libx264 -c:a mp2"),
        ("late.mp4", "-c:v libx264 -c:a aac -output_ts_offset 8.3"),
    ],
)
def test_a_kept_sound_has_the_bounds_of_the_picture(tmp_path: Path, name: str, encoder: str) -> None:
    picture = ("-f", "lavfi", "-i", "testsrc2=s=224x160:r=25:d=6")
    beep = ("-f", "lavfi", "-i", r"aevalsrc=if(between(t\,2.5\,3)\,sin(2*PI*440*t)\,0):s=44100:d=6")
    ffmpeg(*picture, *beep, *encoder.split(), tmp_path / name)
    profile = PROFILE.model_copy(update={"audio": True})
    cut(tmp_path / name, 2.0, 4.0, profile, tmp_path / "clip.mp4", 60)
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        stream = clip.streams.audio[0]
        assert stream.time_base is not None
        tick = float(stream.time_base)  # a stream has no values any more once its file is closed
        assert (stream.duration or 0) * tick == pytest.approx(2, abs=0.04)
        heard = [(frame.pts, frame.to_ndarray()[0]) for frame in clip.decode(stream)]
    samples = np.concatenate([sound for _, sound in heard])
    loud = (np.flatnonzero(np.abs(samples) > 0.1) + (heard[0][0] or 0)) * tick
    assert (loud[0], loud[-1]) == (pytest.approx(0.5, abs=0.015), pytest.approx(1.0, abs=0.015))
    again = tmp_path / "again.mp4"
    cut(tmp_path / name, 2.0, 4.0, profile, again, 60)
    assert again.read_bytes() == (tmp_path / "clip.mp4").read_bytes()


def test_a_source_without_sound_makes_the_same_clip_with_audio_as_without(source: Source, tmp_path: Path) -> None:
    for audio in (True, False):
        profile = PROFILE.model_copy(update={"audio": audio})
        cut(source("h264, gop 12, B-frames")[0], 0.0, 1.0, profile, tmp_path / f"{audio}.mp4", 60)
    assert (tmp_path / "True.mp4").read_bytes() == (tmp_path / "False.mp4").read_bytes()


def test_the_bytes_of_a_clip_do_not_depend_on_what_the_processor_can_do(source: Source, tmp_path: Path) -> None:
    path, _ = source("h264, gop 250, B-frames")
    command = cut_command(path, probe_source(path), 1.0, 3.0, ClipProfile(short_side=128), tmp_path / "clip.mp4")
    subprocess.run(command, check=True)
    usual = (tmp_path / "clip.mp4").read_bytes()
    subprocess.run([command[0], "-cpuflags", "0", *command[1:]], check=True, stderr=subprocess.DEVNULL)
    assert (tmp_path / "clip.mp4").read_bytes() == usual


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["h264, gop 250, B-frames", "vp9, alt-ref"])
def test_the_bytes_of_a_clip_are_the_same_on_one_core_and_on_all(source: Source, tmp_path: Path, name: str) -> None:
    code = (
        "import sys; from pathlib import Path; from vidclf.media.cut import cut; from vidclf.config import ClipProfile;"
        "cut(Path(sys.argv[1]), 0.5, 6.5, ClipProfile(short_side=128), Path(sys.argv[2]), 60)"
    )
    one, all_of_them = tmp_path / "one.mp4", tmp_path / "all.mp4"
    core = str(min(os.sched_getaffinity(0)))
    subprocess.run(["taskset", "-c", core, sys.executable, "-c", code, str(source(name)[0]), str(one)], check=True)
    subprocess.run([sys.executable, "-c", code, str(source(name)[0]), str(all_of_them)], check=True)
    assert one.read_bytes() == all_of_them.read_bytes()
