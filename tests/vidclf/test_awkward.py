"""Files that nobody would choose: other projects' regression cases, and files that mean harm."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.conftest import SHARED, VideoMaker
from tests.vidclf.numbered import X264, ffmpeg, read_numbers, write_numbered
from vidclf.config import ClipProfile
from vidclf.errors import ClipError, Crashed, MediaError, NoVideo, TimedOut, TooShort, Unreadable, Unsafe
from vidclf.media.cut import cut
from vidclf.media.ffmpeg import run
from vidclf.media.frames import read_frames
from vidclf.media.probe import survey

PROFILE = ClipProfile(short_side=128, preset="ultrafast", min_duration=0)
T = TypeVar("T")

AWKWARD = SHARED / "awkward"

#: What becomes of each file as a whole: (width, height, frames), or the kind of error. Looked at, one by one. A
#: single picture is a clip of one frame, which the usual profile refuses as too short; an animated GIF is a video.
EXPECTED: dict[str, tuple[int, int, int] | str] = {
    "moviepy/-video-with-dash-.mp4": (2, 2, 5),
    "moviepy/big_buck_bunny_432_433.webm": (228, 128, 24),
    "moviepy/bitmap.mp4": (2, 2, 5),
    "moviepy/example.mp4": (170, 128, 50),
    "moviepy/example2.mp4": (228, 128, 48),
    "moviepy/example3.mp4": (228, 128, 48),
    "moviepy/example_mask.mp4": (128, 128, 300),
    "moviepy/no_duration.webm": (228, 128, 74),
    "moviepy/result.mp4": (170, 128, 250),
    "moviepy/result.webm": "unreadable",
    "moviepy/smpte-2997.mp4": (228, 128, 251),
    "moviepy/test_video.mp4": (2, 2, 5),
    "moviepy/transparent.webm": (128, 128, 150),
    "moviepy/video_with_failing_audio.mp4": (228, 128, 280),
    "torchcodec/animated.gif": (64, 48, 4),
    "torchcodec/av1_video.mkv": (228, 128, 125),
    "torchcodec/bt2020_10bit.mp4": (170, 128, 60),
    "torchcodec/bt2020_limited_range.mp4": (170, 128, 30),
    "torchcodec/bt601_full_range.mp4": (170, 128, 60),
    "torchcodec/bt601_limited_range.mp4": (170, 128, 60),
    "torchcodec/bt709_full_range.mp4": (228, 128, 30),
    "torchcodec/corrupt.jpg": "unreadable",
    "torchcodec/discard_first_keyframe.mp4": (64, 64, 25),
    "torchcodec/frame_exceeds_screen.gif": (4, 4, 1),
    "torchcodec/gradient.gif": (228, 128, 1),
    "torchcodec/h264_10bits.mp4": (128, 128, 30),
    "torchcodec/h265_10bits.mp4": (128, 128, 30),
    "torchcodec/h265_video.mp4": (128, 128, 10),
    "torchcodec/nasa_13013.mp4": (228, 128, 325),
    "torchcodec/nasa_13013.mp4.audio.mp3": "no_video",
    "torchcodec/nasa_13013.mp4.audio_44100.mp3": "no_video",
    "torchcodec/nasa_13013_hdr.mp4": (228, 128, 325),
    "torchcodec/nasa_13013_mkv_duration_tag.mkv": (228, 128, 390),
    "torchcodec/nasa_13013_rotated.mp4": (128, 228, 17),
    "torchcodec/nasa_13013_vfr.mp4": (228, 128, 50),
    "torchcodec/sine_mono_mp3.swf": "no_video",
    "torchcodec/sine_mono_s16.wav": "no_video",
    "torchcodec/sine_stereo_mp2.mpg": (128, 128, 100),
    "torchcodec/test_non_zero_start.mp4": (200, 112, 12),
    "torchcodec/testsrc2.mp4": (228, 128, 60),
    "torchcodec/testsrc2_12bit_hdr.mp4": (228, 128, 60),
    "torchcodec/testsrc2_444_10bit_hevc.mp4": (170, 128, 25),
    "torchcodec/testsrc2_444_12bit_hevc.mp4": (170, 128, 25),
    "torchcodec/testsrc2_444_8bit_hevc.mp4": (170, 128, 25),
    "torchcodec/testsrc2_av1_10bit.mp4": (170, 128, 25),
    "torchcodec/testsrc2_h265.mp4": (228, 128, 60),
    "torchcodec/testsrc2_hdr.mp4": (228, 128, 60),
    "torchcodec/testsrc2_mpeg4.avi": (228, 128, 30),
    "torchcodec/testsrc2_mpeg4.mp4": (64, 64, 1),
    "torchcodec/testsrc2_odd_dims_10bit.mp4": (170, 128, 25),
    "torchcodec/testsrc2_odd_height_444.mp4": (170, 128, 25),
    "torchcodec/testsrc2_odd_height_and_width_444.mp4": (170, 128, 25),
    "torchcodec/testsrc2_odd_height_and_width_444_10bit.mp4": (170, 128, 25),
    "torchcodec/testsrc2_odd_height_and_width_mpeg2.mp4": (120, 80, 10),
    "torchcodec/testsrc2_odd_height_and_width_vp9.mp4": (170, 128, 25),
    "torchcodec/testsrc2_odd_height_and_width_vp9_10bit.mp4": (170, 128, 25),
    "torchcodec/testsrc2_odd_height_vp9.mp4": (170, 128, 25),
    "torchcodec/testsrc2_odd_height_vp9_10bit.mp4": (170, 128, 25),
    "torchcodec/testsrc2_odd_width_444.mp4": (172, 128, 25),
    "torchcodec/testsrc2_odd_width_mpeg2.mp4": (122, 80, 10),
    "torchcodec/testsrc2_odd_width_vp9.mp4": (172, 128, 25),
    "torchcodec/testsrc2_odd_width_vp9_10bit.mp4": (172, 128, 25),
    "torchcodec/testsrc2_vp8.webm": (228, 128, 30),
    "torchcodec/testsrc2_vp9.webm": (228, 128, 30),
    "torchcodec/transparent.gif": (64, 48, 1),
    "torchcodec/unspecified_full_range.mp4": (170, 128, 60),
    "torchcodec/unspecified_limited_range.mp4": (170, 128, 60),
    "torchcodec/var_fps_video.mp4": (128, 128, 300),
}


def awkward_files() -> list[Path]:
    files = sorted(AWKWARD.glob("*/*"))
    if not files:
        pytest.skip("the folder with other projects' awkward videos is not here")
    return files


@pytest.mark.thorough
def test_every_awkward_file_becomes_a_clip_or_a_kind_of_error(tmp_path: Path) -> None:
    found: dict[str, tuple[int, int, int] | str] = {}
    for path in awkward_files():
        try:
            clip = cut(path, None, None, PROFILE, tmp_path / "clip.mp4", 60)
            found[f"{path.parent.name}/{path.name}"] = (clip.width, clip.height, clip.num_frames)
        except ClipError as error:
            found[f"{path.parent.name}/{path.name}"] = error.kind
    assert found == EXPECTED


@pytest.mark.slow
def test_the_first_second_of_an_awkward_file_is_a_clip_where_the_whole_is(tmp_path: Path) -> None:
    for path in awkward_files():
        whole = EXPECTED[f"{path.parent.name}/{path.name}"]
        if isinstance(whole, str):
            with pytest.raises(MediaError):
                cut(path, 0.0, 1.0, PROFILE, tmp_path / "clip.mp4", 60)
            continue
        clip = cut(path, 0.0, 1.0, PROFILE, tmp_path / "clip.mp4", 60)
        assert (clip.width, clip.height) == whole[:2], path.name
        assert clip.num_frames == whole[2] or clip.duration == pytest.approx(1, abs=0.1), path.name


def test_a_broken_sound_does_not_lose_the_picture(tmp_path: Path) -> None:
    awkward_files()
    source = AWKWARD / "moviepy/video_with_failing_audio.mp4"
    with_sound = PROFILE.model_copy(update={"audio": True})
    assert cut(source, None, None, with_sound, tmp_path / "clip.mp4", 60).num_frames == 280


def test_a_still_picture_is_too_short_for_the_usual_profile(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48", "-frames:v", 1, tmp_path / "still.gif")
    with pytest.raises(TooShort):
        cut(tmp_path / "still.gif", None, None, ClipProfile(), tmp_path / "clip.mp4", 60)


def test_a_picture_of_one_pixel_comes_out_with_an_even_size(tmp_path: Path) -> None:
    ffmpeg(
        "-f", "lavfi", "-i", "color=white:s=2x2:d=1", "-vf", "format=gray,crop=1:1", "-c:v", "ffv1", tmp_path / "a.mkv"
    )
    clip = cut(tmp_path / "a.mkv", None, None, PROFILE, tmp_path / "clip.mp4", 60)
    assert (clip.width, clip.height, clip.num_frames) == (2, 2, 25)


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48", "-frames:v", 1, tmp_path / "cover.png")
    sound = ("-f", "lavfi", "-i", "sine=d=1", "-i", tmp_path / "cover.png", "-map", 0, "-map", 1)
    ffmpeg(*sound, "-c:v", "copy", "-disposition:v", "attached_pic", tmp_path / "song.mp3")
    with pytest.raises(NoVideo):
        cut(tmp_path / "song.mp3", 0.0, 1.0, PROFILE, tmp_path / "clip.mp4", 60)


def test_a_picture_that_changes_its_size_keeps_its_clock_and_the_clip_its_size(tmp_path: Path) -> None:
    parts = b""
    for size in [(224, 160), (320, 180)]:
        raw = write_numbered(tmp_path / "part.h264", [*X264.split(), "-bf", "0"], 50, size=size)
        parts += raw.read_bytes()
    (tmp_path / "both.h264").write_bytes(parts)
    ffmpeg("-f", "h264", "-framerate", 25, "-i", tmp_path / "both.h264", "-c", "copy", tmp_path / "both.ts")
    clip = cut(tmp_path / "both.ts", 1.0, 3.0, PROFILE, tmp_path / "clip.mp4", 60)
    numbers, times = read_numbers(tmp_path / "clip.mp4")
    assert (clip.width, clip.height) == (180, 128)
    assert numbers == [*range(25, 50), *range(25)]
    assert times == pytest.approx([n / 25 for n in range(50)])


# What is damaged


@pytest.mark.parametrize("fps", [None, 25.0])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_damage_inside_the_segment_is_told_and_damage_elsewhere_does_no_harm(
    tmp_path: Path, suffix: str, fps: float | None
) -> None:
    path = write_numbered(tmp_path / f"a.{suffix}", f"{X264} -g 50 -bf 3".split(), 200)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    profile = PROFILE.model_copy(update={"fps": fps})
    with pytest.raises(Unreadable, match=r"damaged: \d+ of about \d+ frames between 3 s and 5 s cannot be decoded"):
        cut(path, 3.0, 5.0, profile, tmp_path / "clip.mp4", 60)
    assert not (tmp_path / "clip.mp4").exists()
    assert cut(path, 0.0, 1.0, profile, tmp_path / "clip.mp4", 60).num_frames == 25
    assert cut(path, 7.0, 8.0, profile, tmp_path / "clip.mp4", 60).num_frames == 25


def test_a_hole_in_a_file_is_not_a_shorter_clip(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mkv", f"{X264} -g 50 -bf 3".split(), 200)
    data = bytearray(path.read_bytes())
    del data[len(data) // 2 : len(data) // 2 + 3000]
    path.write_bytes(data)
    with pytest.raises(Unreadable, match="damaged"):
        cut(path, 3.0, 5.0, PROFILE, tmp_path / "clip.mp4", 60)
    assert cut(path, 0.0, 1.0, PROFILE, tmp_path / "clip.mp4", 60).num_frames == 25


def test_an_interrupted_download_is_good_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", f"{X264} -g 50 -bf 3 -movflags +faststart".split(), 200)
    os.truncate(path, path.stat().st_size * 6 // 10)
    assert cut(path, 1.0, 2.0, PROFILE, tmp_path / "clip.mp4", 60).num_frames == 25
    for segment in [(2.0, 6.0), (7.0, 8.0), (None, None)]:
        with pytest.raises(Unreadable, match=r"damaged: the file ends at \d\.\d\d s, and declares 8\.00 s"):
            cut(path, *segment, PROFILE, tmp_path / "clip.mp4", 60)


def test_a_picture_that_ends_before_its_sound_is_whole(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.ts"):
        both = ("-f", "lavfi", "-i", "testsrc2=s=64x48:d=2", "-f", "lavfi", "-i", "sine=d=4")
        ffmpeg(*both, "-c:v", "libx264", "-c:a", "aac", tmp_path / name)
        assert cut(tmp_path / name, None, None, PROFILE, tmp_path / "clip.mp4", 60).num_frames == 50
        assert cut(tmp_path / name, 1.0, 4.0, PROFILE, tmp_path / "clip.mp4", 60).num_frames == 25


# What means harm


def small(path: Path, *encoder: str) -> bytearray:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=1", *encoder, path)
    return bytearray(path.read_bytes())


def giant_gif(folder: Path) -> Path:
    path = folder / "giant.gif"
    data = small(path)
    picture = data.index(struct.pack("<BHHHH", 0x2C, 0, 0, 64, 48))
    data[picture + 5 : picture + 9] = data[6:10] = struct.pack("<HH", 65_535, 65_535)
    path.write_bytes(data)
    return path


def giant_webm(folder: Path) -> Path:
    path = folder / "giant.webm"
    frame = b"\x9d\x01\x2a"  # the start code of a VP8 key frame, before its width and height
    data = bytes(small(path, "-c:v", "libvpx"))
    path.write_bytes(data.replace(frame + struct.pack("<HH", 64, 48), frame + struct.pack("<HH", 16_383, 16_383)))
    return path


def giant_mjpeg(folder: Path) -> Path:
    path = folder / "giant.avi"
    data = bytes(small(path, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p"))
    header = b"\xff\xc0\x00\x11\x08"
    path.write_bytes(data.replace(header + struct.pack(">HH", 48, 64), header + struct.pack(">HH", 65_000, 65_000)))
    return path


def giant_png(folder: Path) -> Path:
    path = folder / "giant.mkv"
    data = bytes(small(path, "-c:v", "png"))
    path.write_bytes(data.replace(b"IHDR" + struct.pack(">II", 64, 48), b"IHDR" + struct.pack(">II", 60_000, 60_000)))
    return path


def giant_mov(folder: Path) -> Path:
    path = folder / "giant.mov"
    data = small(path, "-c:v", "qtrle", "-pix_fmt", "rgb24")
    entry = data.index(b"rle ", data.index(b"stsd"))
    data[entry + 28 : entry + 32] = struct.pack(">HH", 65_535, 65_535)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("giant", [giant_gif, giant_webm, giant_mjpeg, giant_png, giant_mov])
def test_giant_dimensions_in_a_small_file_cost_no_memory(tmp_path: Path, giant: Callable[[Path], Path]) -> None:
    path = giant(tmp_path)
    assert path.stat().st_size < 30_000
    code = """
import resource, sys
from pathlib import Path
from typing import TypeVar
from vidclf.config import ClipProfile
from vidclf.errors import MediaError
from vidclf.media.cut import cut
try:
    cut(Path(sys.argv[1]), None, None, ClipProfile(), Path(sys.argv[2]), 60)
except MediaError as error:
    print(error.kind)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])  # getrusage counts the tests' process too
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "clip.mp4")]
    kind, own, ffmpegs = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    assert kind in ("unsafe", "unreadable")
    assert int(own) < 500_000
    assert int(ffmpegs) < 500_000  # KiB; one picture would take gigabytes


@pytest.mark.parametrize("name", ["video.mp4", "video.avi"])
@pytest.mark.parametrize("kind", ["hls", "dash", "ffconcat"])
def test_a_playlist_in_disguise_does_not_open_its_neighbours(
    make_video: VideoMaker, tmp_path: Path, name: str, kind: str
) -> None:
    secret = make_video("secret.mp4", num_frames=50)
    base = f"file://{secret}"
    texts = {
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="0" '
        f'bandwidth="1"><BaseURL>{base}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    }
    disguised = tmp_path / name
    disguised.write_text(texts[kind])
    began = time.monotonic()
    with pytest.raises(Unreadable):
        cut(disguised, 0.0, 1.0, PROFILE, tmp_path / "clip.mp4", 60)
    with pytest.raises(Unreadable):
        read_frames(disguised, 4, 64)
    assert time.monotonic() - began < 5


def test_what_is_not_a_regular_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "folder.mp4").mkdir()
    for name in ("fifo.mp4", "device.mp4", "folder.mp4"):
        with pytest.raises(Unsafe, match="not a regular file"):
            cut(tmp_path / name, 0.0, 1.0, PROFILE, tmp_path / "clip.mp4", 60)
    (tmp_path / "link.mp4").symlink_to("/etc/passwd")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nothing")
    for name in ("link.mp4", "dangling.mp4"):
        with pytest.raises(Unreadable):
            cut(tmp_path / name, 0.0, 1.0, PROFILE, tmp_path / "clip.mp4", 60)


@pytest.mark.parametrize("name", ["-y.mp4", "http:x.mp4", "a%03d.mp4", "pipe:0.mp4", "sp ace 'quoted'.mp4"])
def test_a_name_is_only_a_name(make_video: VideoMaker, tmp_path: Path, name: str) -> None:
    made = tmp_path / name
    make_video("plain.mp4", num_frames=25).rename(made)
    assert cut(made, 0.0, 1.0, PROFILE, tmp_path / "clip.mp4", 60).num_frames == 25


@pytest.mark.thorough
def test_a_worker_that_is_killed_leaves_no_ffmpeg_behind(tmp_path: Path) -> None:
    source = tmp_path / "long.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x360:d=12", *X264.split(), source)
    code = (
        "import sys; from pathlib import Path; from vidclf.media.cut import cut; from vidclf.config import ClipProfile;"
        "cut(Path(sys.argv[1]), None, None, ClipProfile(preset='placebo'), Path(sys.argv[2]), 600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(source), str(tmp_path / "clip.mp4")]) as worker:
        try:
            child = wait_for(lambda: encoders_of(worker.pid, source))[0]
        finally:
            worker.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    wait_for(lambda: not runs(child))
    assert time.monotonic() - killed < 1


def encoders_of(parent: int, source: Path) -> list[int]:
    """The process ids of the children that have ``source`` on their command line, as ffmpeg has it."""
    found = []
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended in between
            if f"file:{source}" in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(int(pid))
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], T]) -> T:
    """The first value of ``condition`` that is true, asked for without rest for ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if value := condition():
            return value
    raise AssertionError("it did not happen")


@pytest.mark.thorough
def test_without_enough_memory_there_is_no_clip(
    make_video: VideoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(num_frames=6, size=(3840, 2160))
    monkeypatch.setattr("vidclf.media.ffmpeg.MAX_ADDRESS_SPACE", 300 * 2**20)
    with pytest.raises(ClipError):
        cut(source, None, None, PROFILE, tmp_path / "clip.mp4", 60)
    assert not (tmp_path / "clip.mp4").exists()


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("kill -SEGV $$", Crashed, "ffmpeg was ended by SIGSEGV"),
        ("echo 'x264 [error]: malloc of size 9 failed' >&2", Unsafe, "GiB of memory"),
        ("yes nonsense | head -c 9000000 >&2; echo the last words >&2; exit 3", Unreadable, "the last words"),
        ("exit 3", Unreadable, "ffmpeg ended with status 3"),
        ("exec >/dev/null 2>&1; sleep 60", TimedOut, "ffmpeg took longer than 0.5 s"),
    ],
)
def test_how_a_process_ends_decides_the_kind_of_error(script: str, error: type[ClipError], message: str) -> None:
    with pytest.raises(error, match=message):
        run(["sh", "-c", script], 0.5 if error is TimedOut else 30)


@pytest.mark.slow
def test_an_honest_4k_source_has_enough_memory(tmp_path: Path) -> None:
    source = tmp_path / "4k.mp4"
    encoder = ("-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=3840x2160:r=25", "-frames:v", 12, *encoder, source)
    clip = cut(source, None, None, ClipProfile(short_side=2160, preset="slow"), tmp_path / "clip.mp4", 300)
    assert (clip.width, clip.height, clip.num_frames) == (3840, 2160, 12)


def test_what_a_segment_holds_is_known_without_decoding(make_video: VideoMaker) -> None:
    _, segment = survey(make_video(num_frames=100), 1.0, 2.0, 1.0)
    assert (segment.num_frames, float(segment.first), float(segment.until)) == (25, 1.0, 2.0)
