"""A cut is frame-exact, or says why it is not there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest

from tests.conftest import VideoMaker, read_number
from vidclf.config import ClipProfile
from vidclf.errors import NoVideo, OutOfRange, StorageError, TimedOut, TooShort, Unreadable
from vidclf.media.cut import cut
from vidclf.media.ffmpeg import cut_command
from vidclf.media.frames import read_frames
from vidclf.media.probe import SourceInfo

PROFILE = ClipProfile(short_side=48, crf=10, preset="ultrafast")


def numbers_in(clip: Path, count: int) -> list[int]:
    frames, _ = read_frames(clip, count, 48)
    return [read_number(frame) for frame in frames]


@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001)], ids=str)
@pytest.mark.parametrize("gop", [12, 250])
def test_a_clip_holds_exactly_the_frames_of_its_segment(
    make_video: VideoMaker, tmp_path: Path, rate: Fraction | int, gop: int
) -> None:
    source = make_video(num_frames=120, rate=rate, gop=gop)
    clip = cut(source, 1.0, 3.0, PROFILE, tmp_path / "clip.mp4", 60)
    expected = [number for number in range(120) if 1 <= number / Fraction(rate) < 3]
    assert clip.num_frames == len(expected)
    assert numbers_in(tmp_path / "clip.mp4", clip.num_frames) == expected
    assert clip.duration == pytest.approx(len(expected) / float(rate), abs=0.01)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.ts", "libx264")])
def test_a_cut_is_exact_in_other_containers_too(make_video: VideoMaker, tmp_path: Path, name: str, codec: str) -> None:
    source = make_video(name, num_frames=100, codec=codec, gop=50)
    clip = cut(source, 1.0, 3.0, PROFILE, tmp_path / "clip.mp4", 60)
    assert numbers_in(tmp_path / "clip.mp4", clip.num_frames) == list(range(25, 75))


def test_a_time_between_two_frames_takes_the_later_one(make_video: VideoMaker, tmp_path: Path) -> None:
    clip = cut(make_video(), 1.01, 1.21, PROFILE, tmp_path / "clip.mp4", 60)
    assert numbers_in(tmp_path / "clip.mp4", clip.num_frames) == [26, 27, 28, 29, 30]


def test_a_segment_that_ends_after_the_video_ends_with_it(make_video: VideoMaker, tmp_path: Path) -> None:
    clip = cut(make_video(num_frames=75), 2.0, 9.0, PROFILE, tmp_path / "clip.mp4", 60)
    assert clip.num_frames == 25
    assert clip.duration == pytest.approx(1.0)


def test_without_times_the_whole_video_is_the_clip(make_video: VideoMaker, tmp_path: Path) -> None:
    assert cut(make_video(num_frames=30), None, None, PROFILE, tmp_path / "clip.mp4", 60).num_frames == 30


def test_the_short_side_is_scaled_and_nothing_is_enlarged(make_video: VideoMaker, tmp_path: Path) -> None:
    tall = make_video("tall.mp4", num_frames=10, size=(64, 96))
    clip = cut(tall, None, None, PROFILE, tmp_path / "tall_clip.mp4", 60)
    assert (clip.width, clip.height) == (48, 72)
    large = cut(tall, None, None, ClipProfile(short_side=200), tmp_path / "large_clip.mp4", 60)
    assert (large.width, large.height) == (64, 96)


@pytest.mark.thorough
def test_the_bytes_do_not_depend_on_the_number_of_cores(make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video(size=(320, 240))
    code = (
        "import sys; from pathlib import Path; from vidclf.media.cut import cut; from vidclf.config import ClipProfile;"
        "cut(Path(sys.argv[1]), 0.5, 2.5, ClipProfile(short_side=128), Path(sys.argv[2]), 60)"
    )
    one, all_of_them = tmp_path / "one.mp4", tmp_path / "all.mp4"
    core = str(min(os.sched_getaffinity(0)))
    subprocess.run(["taskset", "-c", core, sys.executable, "-c", code, str(source), str(one)], check=True)
    subprocess.run([sys.executable, "-c", code, str(source), str(all_of_them)], check=True)
    assert one.read_bytes() == all_of_them.read_bytes()


def test_a_segment_beyond_the_end_is_out_of_range(make_video: VideoMaker, tmp_path: Path) -> None:
    with pytest.raises(OutOfRange, match=r"begins at 12 s, but the video ends at 3\.00 s"):
        cut(make_video(num_frames=75), 12.0, 14.0, PROFILE, tmp_path / "clip.mp4", 60)


def test_too_little_video_is_too_short(make_video: VideoMaker, tmp_path: Path) -> None:
    with pytest.raises(TooShort):
        cut(make_video(num_frames=75), 2.9, 5.0, PROFILE, tmp_path / "clip.mp4", 60)


def test_a_truncated_file_is_unreadable(make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video()
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(Unreadable):
        cut(source, 0.0, 2.0, PROFILE, tmp_path / "clip.mp4", 60)


def test_half_a_transport_stream_is_unreadable_and_not_a_shorter_clip(make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video("whole.mkv", num_frames=100)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(Unreadable, match="damaged"):
        cut(source, 0.0, 4.0, PROFILE, tmp_path / "clip.mp4", 60)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import av
    import numpy as np

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(NoVideo):
        cut(path, 0.0, 1.0, PROFILE, tmp_path / "clip.mp4", 60)


def test_ffmpeg_that_takes_too_long_is_killed(make_video: VideoMaker, tmp_path: Path) -> None:
    with pytest.raises(TimedOut):
        cut(make_video(num_frames=75), None, None, PROFILE, tmp_path / "clip.mp4", timeout=0.001)
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]


@pytest.mark.thorough
def test_a_slow_encode_is_stopped_in_time_and_leaves_nothing_behind(make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video(num_frames=100, size=(640, 480))
    began = time.monotonic()
    with pytest.raises(TimedOut, match=r"ffmpeg took longer than 0\.5 s"):
        cut(source, None, None, ClipProfile(short_side=480, preset="placebo"), tmp_path / "clip.mp4", timeout=0.5)
    assert time.monotonic() - began < 3
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert not [pid for pid in children if str(source) in Path(f"/proc/{pid}/cmdline").read_text()]
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]


def test_a_beginning_at_an_odd_tick_moves_no_frame() -> None:
    """A container says its start in microseconds, which is rounded; a frame must not fall out by that."""
    info = SourceInfo(0, Fraction(1, 90_000), Fraction(126_005, 90_000), 10.0, Fraction(25), True, False)
    command = " ".join(cut_command(Path("a.ts"), info, 1.0, 2.0, PROFILE, Path("b.mp4")))
    assert "start_pts=216005" in command
    assert "end_pts=306005" in command


def test_a_full_disk_is_not_the_videos_fault(make_video: VideoMaker, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"No space left on device in .*: free some, or set TMPDIR"):
        cut(make_video(), 1.0, 2.0, PROFILE, tmp_path / "clip.mp4", 60)
