"""YouTube through the real yt-dlp, which takes any address: here a server on loopback plays YouTube."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from tests.conftest import VideoMaker, read_number
from tests.misbehaving import Behaviour, File, Handler, MisbehavingServer, Reset, Status, Truncated
from vidclf.config import ClipProfile
from vidclf.errors import Blocked, ConfigError, Gone, SourceError, Unreachable
from vidclf.media.cut import cut
from vidclf.media.ffmpeg import executable
from vidclf.media.frames import read_frames
from vidclf.media.probe import probe_clip
from vidclf.sources import Fetched, Wanted, parse_source
from vidclf.sources._sections import BLOCK, NUDGE
from vidclf.sources.youtube import YouTube, explain

PROFILE = ClipProfile(short_side=48, crf=10, preset="ultrafast")
ID = "-abcdefghi_"
VIDEO = {"Content-Type": "video/mp4"}


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        yield server


def fetch(server: MisbehavingServer, into: Path, wanted: Wanted, suffix: str = "mp4", **options: object) -> Fetched:
    into.mkdir(exist_ok=True)
    return YouTube(url=f"{server.url}/{{id}}.{suffix}", **options).fetch(wanted, into)  # type: ignore[arg-type]


def segment(start: float, end: float) -> Wanted:
    return Wanted(ID, f"{ID}_clip", start, end)


def numbers_of(fetched: Fetched, wanted: Wanted, to: Path) -> list[int]:
    """The numbers of the frames that the pipeline cuts out of what was fetched."""
    assert wanted.time_start is not None
    assert wanted.time_end is not None
    start, end = wanted.time_start - fetched.begins_at, wanted.time_end - fetched.begins_at
    clip = cut(fetched.path, start, end, PROFILE, to, 60)
    frames, _ = read_frames(to, clip.num_frames, 48)
    return [read_number(frame) for frame in frames]


def as_dash(path: Path) -> Path:
    """As YouTube serves it: fragments, with an index before them."""
    to = path.with_name(f"dash-{path.name}")
    flags = ["-movflags", "dash+global_sidx+frag_keyframe", "-f", "mp4"]
    subprocess.run([executable(), "-v", "error", "-i", str(path), "-c", "copy", *flags, str(to)], check=True)
    return to


@pytest.mark.thorough
@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001)], ids=str)
@pytest.mark.parametrize("layout", ["plain", "dash"])
def test_a_section_is_frame_exact(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path, rate: Fraction | int, layout: str
) -> None:
    video = make_video(num_frames=256, rate=rate, gop=48)
    server.serve(f"/{ID}.mp4", File(as_dash(video) if layout == "dash" else video, VIDEO))
    for start, end in [(0.0, 1.0), (1.0, 2.0), (4.0, 6.0), (5.2, 5.48), (3.84, 4.84), (1.92, 2.4), (7.0, 20.0)]:
        wanted = segment(start, end)
        into = tmp_path / f"{start}"
        fetched = fetch(server, into, wanted, section_over=5)
        assert fetched.path.name == "section.mp4"
        assert [path.name for path in into.iterdir()] == ["section.mp4"]
        expected = [
            number for number in range(256) if Fraction(str(start)) <= number / Fraction(rate) < Fraction(str(end))
        ]
        assert numbers_of(fetched, wanted, tmp_path / "clip.mp4") == expected
        assert fetched.begins_at <= start
        assert fetched.ends_at is None or fetched.ends_at >= end


@pytest.mark.parametrize(("name", "codec"), [("v.webm", "libvpx-vp9"), ("v.mkv", "libx264")])
def test_a_section_of_other_containers_is_exact_too(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path, name: str, codec: str
) -> None:
    suffix = name.rpartition(".")[2]
    server.serve(
        f"/{ID}.{suffix}", File(make_video(name, num_frames=200, codec=codec, gop=40), {"Content-Type": "video/webm"})
    )
    wanted = segment(4.0, 5.0)
    fetched = fetch(server, tmp_path / "into", wanted, suffix, section_over=5)
    assert fetched.path.name == "section.mkv"
    assert numbers_of(fetched, wanted, tmp_path / "clip.mp4") == list(range(100, 125))


SOUND = ["-f", "lavfi", "-i", "sine=d=9", "-c:a", "aac"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [*SOUND, "-map", "0:v", "-map", "1:a", "-c:v", "copy"]),
        ([], ["-c:v", "copy", "-output_ts_offset", "3.3"]),
        ([], ["-c:v", "libx264", "-preset", "veryfast", "-x264-params", "open-gop=1:keyint=48:bframes=3:scenecut=0"]),
        ([], ["-c:v", "libsvtav1", "-preset", "12", "-g", "48"]),
        (["-display_rotation", "90"], ["-c:v", "copy"]),
    ],
    ids=["with sound", "beginning later", "open GOP", "AV1", "rotated"],
)
def test_a_clip_of_a_section_is_the_clip_of_the_whole_video_to_the_byte(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path, before: list[str], after: list[str]
) -> None:
    whole = tmp_path / "whole.mp4"
    made = make_video(num_frames=225, gop=48)
    subprocess.run([executable(), "-v", "error", *before, "-i", str(made), *after, str(whole)], check=True)
    server.serve(f"/{ID}.mp4", File(whole, VIDEO))
    for start, end in [(0.0, 1.0), (4.2, 5.0), (6.04, 7.0)]:
        fetched = fetch(server, tmp_path / "into", segment(start, end), section_over=5)
        assert fetched.path.name == "section.mp4"
        cut(whole, start, end, PROFILE, tmp_path / "a.mp4", 60)
        cut(fetched.path, start - fetched.begins_at, end - fetched.begins_at, PROFILE, tmp_path / "b.mp4", 60)
        assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_segment_without_a_key_frame_before_it_is_fetched_with_the_whole_video(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path
) -> None:
    late = tmp_path / "late.mp4"  # its picture begins 3 s after its sound
    source = ["-itsoffset", "3", "-i", str(make_video(num_frames=150))]
    command = [executable(), "-v", "error", *source, *SOUND, "-map", "0:v", "-map", "1:a", "-c:v", "copy", str(late)]
    subprocess.run(command, check=True)
    server.serve(f"/{ID}.mp4", File(late, VIDEO))
    fetched = fetch(server, tmp_path / "into", segment(1.0, 4.0), section_over=5)
    assert fetched == Fetched(tmp_path / "into" / "video.mp4")
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["video.mp4"]


def test_begins_at_is_the_time_of_the_first_frame(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path
) -> None:
    server.serve(f"/{ID}.mp4", File(make_video(num_frames=250, gop=50), VIDEO))
    fetched = fetch(server, tmp_path / "into", segment(7.0, 7.4), section_over=5)
    frames, _ = read_frames(fetched.path, probe_clip(fetched.path).num_frames, 48)
    number = read_number(frames[0])
    assert 75 <= number <= 125  # a key frame not long before 7 - 2 s
    assert 0 <= fetched.begins_at - number / 25 <= NUDGE * 1.01
    assert fetched.ends_at == pytest.approx(9.4)


def test_of_a_long_video_little_is_read(server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path) -> None:
    video = make_video("long.mp4", num_frames=1500, gop=50, size=(96, 64))
    padded = tmp_path / "padded.mp4"
    noise = ["-f", "lavfi", "-i", "anoisesrc=d=60:c=white:r=48000", "-map", "0:v", "-map", "1:a", "-c:v", "copy"]
    command = [executable(), "-v", "error", "-i", str(video), *noise, "-c:a", "pcm_s24le", "-f", "mov", str(padded)]
    subprocess.run(command, check=True)
    server.serve(f"/{ID}.mp4", File(padded, VIDEO))
    wanted = segment(40.0, 41.0)
    fetched = fetch(server, tmp_path / "into", wanted, section_over=30)
    assert numbers_of(fetched, wanted, tmp_path / "clip.mp4") == [number % 256 for number in range(1000, 1025)]
    ranges = {request.headers["range"] for request in server.requests if "range" in request.headers}
    assert len(ranges) * BLOCK < padded.stat().st_size * 2 / 3


@pytest.mark.parametrize(
    ("wanted", "options"),
    [
        (segment(1.0, 2.0), {}),  # shorter than section_over
        (segment(1.0, 2.0), {"section_over": None}),
        (Wanted(ID, ID), {"section_over": 1}),  # all of it is wanted
    ],
)
def test_otherwise_the_whole_video_is_fetched(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path, wanted: Wanted, options: dict[str, object]
) -> None:
    video = make_video(num_frames=100)
    server.serve(f"/{ID}.mp4", File(video, VIDEO))
    fetched = fetch(server, tmp_path / "into", wanted, **options)
    assert fetched == Fetched(tmp_path / "into" / "video.mp4")
    assert fetched.path.read_bytes() == video.read_bytes()


def test_where_a_section_cannot_be_had_the_whole_video_is_fetched(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path
) -> None:
    video = make_video(num_frames=100)
    server.serve(f"/{ID}.mp4", File(video, VIDEO, ranges=False))
    assert fetch(server, tmp_path / "a", segment(2.0, 3.0), section_over=1).path.read_bytes() == video.read_bytes()
    stream = make_video("v.ts", num_frames=100)
    server.serve(f"/{ID}.ts", File(stream, {"Content-Type": "video/mp2t"}))
    whole = fetch(server, tmp_path / "b", segment(2.0, 3.0), "ts", section_over=1)
    assert (whole.path.read_bytes(), whole.begins_at, whole.ends_at) == (stream.read_bytes(), 0.0, None)


def test_a_download_that_is_cut_short_is_no_download(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path
) -> None:
    data = make_video(num_frames=100).read_bytes()
    for behaviour in (Truncated(data, after=len(data) // 2), Reset(data, after=len(data) // 2)):
        server.serve(f"/{ID}.mp4", [File(data, VIDEO), behaviour])
        with pytest.raises(Unreachable):
            fetch(server, tmp_path / "into", Wanted(ID, ID))


class Broken:
    """Ranges, until the video's second half."""

    def __init__(self, data: bytes, later: Behaviour):
        self.half, self.file, self.later = len(data) // 2, File(data, VIDEO), later

    def answer(self, handler: Handler) -> None:
        begin = handler.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")[0]
        (self.file if int(begin) < self.half else self.later).answer(handler)


@pytest.mark.thorough
def test_a_section_that_is_cut_short_is_no_section(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path
) -> None:
    path = make_video(num_frames=200, gop=25, size=(320, 240))
    noisy = tmp_path / "noisy.mp4"
    filters = ["-vf", "noise=alls=90:allf=t", "-movflags", "faststart", "-crf", "10", "-preset", "ultrafast"]
    subprocess.run([executable(), "-v", "error", "-i", str(path), *filters, str(noisy)], check=True)
    data = noisy.read_bytes()
    assert len(data) > 4 * BLOCK
    for later, kind in (
        (Reset(), Unreachable),
        (Status(500), Unreachable),
        (Status(429, {"Retry-After": "11"}), Blocked),
        (Status(206, {"Content-Range": "bytes 0-9/10"}, b"0123456789"), Unreachable),
    ):
        server.serve(f"/{ID}.mp4", Broken(data, later))
        with pytest.raises(SourceError) as failure:
            fetch(server, tmp_path / "into", segment(6.0, 7.0), section_over=5)
        assert type(failure.value) is kind
        assert getattr(failure.value, "retry_after", None) == (11 if kind is Blocked else None)


@pytest.mark.parametrize(
    ("behaviour", "kind", "retry_after"),
    [
        (Status(429, {"Retry-After": "11"}), Blocked, 11),
        (Status(429), Blocked, None),
        (Status(402), Blocked, None),
        (Status(403), Blocked, None),
        (Status(503, {"Retry-After": "12"}), Blocked, 12),
        (Status(503), Unreachable, None),
        (Status(404), Gone, None),
        (Status(410), Gone, None),
        (Reset(), Unreachable, None),
    ],
)
def test_what_the_host_answers_becomes_one_of_our_errors(
    server: MisbehavingServer, tmp_path: Path, behaviour: Status, kind: type[SourceError], retry_after: float | None
) -> None:
    server.serve(f"/{ID}.mp4", behaviour)
    with pytest.raises(SourceError) as failure:
        fetch(server, tmp_path / "into", Wanted(ID, ID))
    assert type(failure.value) is kind
    assert getattr(failure.value, "retry_after", None) == retry_after


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Video unavailable", Gone),
        ("Video unavailable. This video is no longer available because the YouTube account has been terminated", Gone),
        ("Private video. Sign in if you've been granted access to this video", Gone),
        ("This video has been removed by the uploader", Gone),
        ("This video has been removed for violating YouTube's Terms of Service", Gone),
        ("The uploader's account has been terminated", Gone),
        ("The uploader has not made this video available in your country", Gone),
        ("Video unavailable. This video contains content from X, who has blocked it on copyright grounds", Gone),
        ("Join this channel to get access to members-only content like this video, and other exclusive perks", Gone),
        ("This video is available to this channel's members; members-only content", Gone),
        ("This video is not available", Gone),
        ("This video requires payment to watch", Gone),
        ("This live stream recording is not available", Gone),
        ("This video is DRM protected", Gone),
        ("Sign in to confirm your age. This video may be inappropriate for some users", Gone),
        ("Incomplete YouTube ID abc", Gone),
        ("Unable to download webpage: HTTP Error 404: Not Found", Gone),
        ("Unable to download webpage: HTTP Error 410: Gone", Gone),
        (
            "Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies for the authentication",
            Blocked,
        ),
        ("Sign in to confirm you're not a bot", Blocked),
        (
            "Video unavailable. This content isn't available, try again later. The current session has been "
            "rate-limited by YouTube for up to an hour",
            Blocked,
        ),
        ("Video unavailable. This content isn’t available, try again later", Blocked),
        ("This video is unavailable. YouTube is requiring a captcha challenge before playback", Blocked),
        ("Unable to download API page: HTTP Error 429: Too Many Requests", Blocked),
        ("Unable to download webpage: HTTP Error 402: Payment Required", Blocked),
        ("Unable to download webpage: HTTP Error 407: Proxy Authentication Required", Blocked),
        (
            "Unable to download webpage: ('Unable to connect to proxy', OSError('Tunnel connection failed: 407'))",
            Blocked,
        ),
        ("Unable to download API page: HTTP Error 401: Unauthorized", Blocked),
        ("unable to download video data: HTTP Error 403: Forbidden", Blocked),
        ("unable to download video data: HTTP Error 404: Not Found", Unreachable),
        ("This live event will begin in 3 hours", Unreachable),
        ("Premieres in 20 minutes", Unreachable),
        ("The page needs to be reloaded", Unreachable),
        ("Requested format is not available. Use --list-formats for a list of available formats", Unreachable),
        ("Unable to download webpage: HTTP Error 503: Service Unavailable", Unreachable),
        ("Unable to download webpage: HTTP Error 500: Internal Server Error", Unreachable),
        ("Unable to download API page: <urlopen error timed out>", Unreachable),
        ("Unable to download webpage: The read operation timed out", Unreachable),
        ("Unable to download webpage: [Errno -2] Name or service not known", Unreachable),
        ("Unable to download webpage: [Errno 104] Connection reset by peer", Unreachable),
        ("Something that nobody has seen before", Unreachable),
    ],
)
def test_what_yt_dlp_says_is_understood(message: str, kind: type[SourceError]) -> None:
    assert type(explain(f"\x1b[0;31mERROR:\x1b[0m [youtube] {ID}: {message}")) is kind


def test_a_503_with_a_time_is_a_host_that_wants_to_be_left_alone() -> None:
    error = explain("HTTP Error 503: Service Unavailable", "30")
    assert isinstance(error, Blocked)
    assert error.retry_after == 30
    assert type(explain("Video unavailable", "30")) is Gone


def test_an_explanation_is_one_line_without_advice() -> None:
    said = "ERROR: [youtube] x: Failed to extract; please report this issue on  https://github.com/yt-dlp"
    assert str(explain(said)) == "[youtube] x: Failed to extract"


@pytest.mark.parametrize(
    "source_id", ["", "short", "abcdefghijkl", "../../../xx", "abcdefghij\n", "abcdefghij?", "ä" * 11]
)
def test_what_is_no_id_is_gone_and_nobody_is_asked(server: MisbehavingServer, tmp_path: Path, source_id: str) -> None:
    with pytest.raises(Gone, match="is not a YouTube id"):
        fetch(server, tmp_path / "into", Wanted(source_id, "c"))
    assert server.requests == []


def test_the_host_is_youtube_and_the_rate_is_the_one_of_yt_dlps_guide() -> None:
    source = YouTube()
    wanted = Wanted(ID, "clip", 1.0, 2.0)
    assert (source.host(wanted), source.rate, source.unit(wanted)) == ("youtube.com", 300, ID)


def test_a_proxys_password_is_in_no_message(
    server: MisbehavingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with MisbehavingServer() as closed:
        proxy = f"http://me:s3cret%2Fword@{closed.netloc}"
    monkeypatch.setenv("VIDCLF_PROXY", proxy)
    with pytest.raises(Unreachable) as failure:
        fetch(server, tmp_path / "into", Wanted(ID, ID))
    assert server.requests == []  # it went to the proxy
    said = f"{failure.value!r} {capfd.readouterr()} {YouTube()!r}"
    assert "s3cret" not in said
    for message in (
        f"proxy {proxy} is down",
        "bad password s3cret%2Fword",
        "bad password s3cret/word",
        "user me:s3cret/word",
    ):
        assert "s3cret" not in str(explain(message))


def test_what_signs_an_address_is_in_no_message() -> None:
    said = str(explain("cannot get https://a:b@h/v?id=1&sig=AAA&X-Amz-Signature=BBB&token=CCC&n=2"))
    assert not {"a:b", "AAA", "BBB", "CCC"} & set(said.replace("=", " ").replace("&", " ").replace("@", " ").split())
    assert "id=1" in said


def test_cookies_are_copied_and_not_left_behind(
    server: MisbehavingServer, make_video: VideoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookies = tmp_path / "cookies.txt"
    line = "127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tsession\tabc\n"
    cookies.write_text(f"# Netscape HTTP Cookie File\n{line}")
    before = cookies.read_bytes()
    monkeypatch.setenv("VIDCLF_COOKIES", str(cookies))
    server.serve(f"/{ID}.mp4", File(make_video(num_frames=10), VIDEO))
    fetch(server, tmp_path / "into", Wanted(ID, ID))
    assert server.requests[0].headers["cookie"] == "session=abc"
    assert cookies.read_bytes() == before
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["video.mp4"]
    monkeypatch.setenv("VIDCLF_COOKIES", str(tmp_path / "missing"))
    with pytest.raises(Unreachable, match=r"VIDCLF_COOKIES.*No such file"):
        fetch(server, tmp_path / "into", Wanted(ID, ID))


@pytest.mark.parametrize("url", ["https://host/watch", "{id}", "https://host/{id}/{id}", "https://u:p@host/{id}"])
def test_a_wrong_watch_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="option 'url'"):
        parse_source({"kind": "youtube", "url": url})
