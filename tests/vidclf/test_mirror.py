"""A mirror delivers whole files, and says in our errors what its host says in HTTP."""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import VideoMaker
from tests.misbehaving import (
    Behaviour,
    Endless,
    File,
    MisbehavingServer,
    Redirect,
    Reset,
    Silence,
    Status,
    Trickle,
    Truncated,
)
from vidclf.errors import Blocked, ConfigError, Gone, SourceError, Unreachable
from vidclf.sources import Fetched, Wanted, parse_source
from vidclf.sources._http import seconds_to_wait
from vidclf.sources.mirror import Mirror

CONTENT = bytes(range(256)) * 40
CLIP = Wanted("-abcdefghij", "-abcdefghij_000005_000015", 5.0, 15.0, "salsa dancing", "val")


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        yield server


def fetch(uri: str, into: Path, wanted: Wanted = CLIP, **options: object) -> Fetched:
    into.mkdir(exist_ok=True)
    return Mirror(uri=uri, **options).fetch(wanted, into)  # type: ignore[arg-type]


def test_a_clip_at_an_address_with_its_times_is_the_segment(server: MisbehavingServer, tmp_path: Path) -> None:
    server.serve("/val/salsa dancing/-abcdefghij_000005_000015.mp4", CONTENT)
    uri = server.url + "/{split}/{label}/{id}_{start:06d}_{end:06d}.mp4"
    fetched = fetch(uri, tmp_path)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.path.parent == tmp_path
    assert (fetched.path.suffix, fetched.begins_at, fetched.ends_at) == (".mp4", 5.0, 15.0)
    assert server.requests[0].target == "/val/salsa%20dancing/-abcdefghij_000005_000015.mp4"
    assert Mirror(uri=uri).unit(CLIP) == CLIP.clip_id
    assert Mirror(uri=uri).host(CLIP) == server.netloc


def test_an_address_without_times_is_the_whole_video(server: MisbehavingServer, tmp_path: Path) -> None:
    server.serve("/-abcdefghij.webm", CONTENT)
    fetched = fetch(server.url + "/{id}.webm", tmp_path)
    assert (fetched.path.suffix, fetched.begins_at, fetched.ends_at) == (".webm", 0.0, None)
    assert Mirror(uri=server.url + "/{id}.webm").unit(CLIP) == CLIP.source_id


def test_videos_that_lie_by_class_are_units_by_class(server: MisbehavingServer) -> None:
    assert Mirror(uri=server.url + "/{label}/{id}.mp4").unit(CLIP) == "salsa dancing/-abcdefghij"


@pytest.mark.parametrize(
    ("behaviour", "kind", "complaint"),
    [
        (Status(404), Gone, "HTTP 404"),
        (Status(410), Gone, "HTTP 410"),
        (Status(451), Gone, "HTTP 451"),
        (Status(401), Blocked, "HTTP 401"),
        (Status(403), Blocked, "HTTP 403"),
        (Status(429), Blocked, "HTTP 429"),
        (Status(503, {"Retry-After": "7"}), Blocked, "HTTP 503"),
        (Status(503), Unreachable, "HTTP 503"),
        (Status(500), Unreachable, "HTTP 500"),
        (Status(502), Unreachable, "HTTP 502"),
        (Status(400), Unreachable, "HTTP 400"),
        (Status(204, body=b""), Unreachable, "HTTP 204"),
        (File(b""), Unreachable, "an empty file"),
        (File(b"<html>log in</html>", {"Content-Type": "text/html"}), Unreachable, "a web page"),
        (File(CONTENT, {"Content-Encoding": "gzip"}), Unreachable, "compressed"),
        (Reset(), Unreachable, "reset"),
        (Reset(CONTENT, after=2000), Unreachable, "reset|cut short"),
        (Truncated(CONTENT, after=2000), Unreachable, "cut short after 2,000 of 10,240 bytes"),
        (Truncated(CONTENT, after=2000, chunked=True), Unreachable, "cut short"),
        (Endless(CONTENT), Unreachable, "does not say how long"),
        (Silence(), Unreachable, "silent for 0.3 s"),
        (Silence(CONTENT), Unreachable, "silent for 0.3 s"),
        (Trickle(CONTENT), Unreachable, "silent for 0.3 s"),
        (Trickle(CONTENT, headers_too=True), Unreachable, "silent for 0.3 s"),
        (Redirect("file:///etc/passwd"), Unreachable, "is not allowed"),
        (Redirect("ftp://127.0.0.1/x"), Unreachable, "redirects to something that is not HTTP"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, (type, str)) else "",
)
def test_what_the_host_does_becomes_one_of_our_errors_and_leaves_no_file(
    server: MisbehavingServer, tmp_path: Path, behaviour: Behaviour, kind: type[SourceError], complaint: str
) -> None:
    server.serve("/-abcdefghij.mp4", behaviour)
    with pytest.raises(SourceError, match=complaint) as failure:
        fetch(server.url + "/{id}.mp4", tmp_path / "into", timeout=0.3)
    assert type(failure.value) is kind
    assert list((tmp_path / "into").iterdir()) == []


def test_a_host_that_nobody_answers_for_is_unreachable(tmp_path: Path) -> None:
    with MisbehavingServer() as server:
        uri = server.url + "/{id}.mp4"
    with pytest.raises(Unreachable, match="refused"):
        fetch(uri, tmp_path)


@pytest.mark.parametrize(
    ("value", "low", "high"), [("7", 7, 7), ("0", 0, 0), (" 12 ", 12, 12), ("999999999999999", 86400, 86400)]
)
def test_retry_after_in_seconds_is_passed_on(value: str, low: float, high: float) -> None:
    seconds = seconds_to_wait(value)
    assert seconds is not None
    assert low <= seconds <= high


def test_retry_after_as_a_date_is_passed_on_in_seconds() -> None:
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)
    assert seconds_to_wait(email.utils.format_datetime(until, usegmt=True)) == pytest.approx(100, abs=2)
    assert seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "inf", "²"])
def test_a_retry_after_that_makes_no_sense_is_none(value: str | None) -> None:
    assert seconds_to_wait(value) is None


def test_a_host_that_blocks_says_how_long(server: MisbehavingServer, tmp_path: Path) -> None:
    server.serve("/-abcdefghij.mp4", Status(429, {"Retry-After": "7"}))
    with pytest.raises(Blocked) as failure:
        fetch(server.url + "/{id}.mp4", tmp_path)
    assert failure.value.retry_after == 7


def test_a_bucket_that_says_403_for_what_it_has_not_got_can_be_told_apart(
    server: MisbehavingServer, tmp_path: Path
) -> None:
    server.serve("/-abcdefghij.mp4", Status(403))
    with pytest.raises(Gone):
        fetch(server.url + "/{id}.mp4", tmp_path, gone=(403, 404))


def test_redirects_are_followed_a_few_times(server: MisbehavingServer, tmp_path: Path) -> None:
    server.serve("/-abcdefghij.mp4", Redirect("/other", 301))
    server.serve("/other", Redirect(server.url + "/file", 307))
    server.serve("/file", CONTENT)
    assert fetch(server.url + "/{id}.mp4", tmp_path).path.read_bytes() == CONTENT
    server.serve("/other", Redirect("/-abcdefghij.mp4"))
    with pytest.raises(Unreachable, match="infinite loop"):
        fetch(server.url + "/{id}.mp4", tmp_path)


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "video/mp4"}])
def test_a_file_over_max_bytes_is_refused_for_good(
    server: MisbehavingServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.serve("/-abcdefghij.mp4", File(CONTENT, headers))
    with pytest.raises(Gone, match="larger than max_bytes, 10,239, allows"):
        fetch(server.url + "/{id}.mp4", tmp_path, max_bytes=10_239)
    assert list(tmp_path.iterdir()) == []
    assert fetch(server.url + "/{id}.mp4", tmp_path, max_bytes=10_240).path.stat().st_size == 10_240


@pytest.mark.parametrize("source_id", ["../x", "a/b", "..", ".", "", "a\\b", "a\nb", "a\x00b"])
def test_an_id_that_would_leave_its_place_is_gone_and_nobody_is_asked(
    server: MisbehavingServer, tmp_path: Path, source_id: str
) -> None:
    (tmp_path / "x").write_text("secret")
    for root in (server.url + "/videos", str(tmp_path / "videos")):
        (tmp_path / "videos").mkdir(exist_ok=True)
        with pytest.raises(Gone):
            fetch(root + "/{id}", tmp_path / "into", Wanted(source_id, "c"))
    assert server.requests == []


@pytest.mark.parametrize("source_id", ["a?x=1&y=2", "a#b", "a%2e%2e%2fb", "a b", "ä", "x::file:"])
def test_an_id_is_a_name_and_no_part_of_an_address(server: MisbehavingServer, tmp_path: Path, source_id: str) -> None:
    server.serve(f"/v/{source_id}.mp4", CONTENT)
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / f"{source_id}.mp4").write_bytes(CONTENT)
    for root in (server.url, str(tmp_path), tmp_path.as_uri()):
        wanted = Wanted(source_id, "c")
        assert fetch(root + "/v/{id}.mp4", tmp_path / "into", wanted).path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("https://host/{name}.mp4", r"\{name\} is no field"),
        ("https://host/{id.__class__}.mp4", "is no field"),
        ("https://host/{id!r}.mp4", "is no field"),
        ("https://host/{}.mp4", "is no field"),
        ("https://host/{id}_{start:{end}}.mp4", "is no field"),
        ("https://host/{id}_{start:06q}.mp4", "06q"),
        ("https://host/{id", "expected '}'"),
        ("https://host/video.mp4", "the same for every video"),
        ("https://{id}.host/video.mp4", "host cannot depend"),
        ("https://user:secret@host/{id}.mp4", "would be seen by everybody"),
        ("https:///{id}.mp4", "names no host"),
    ],
)
def test_a_wrong_address_is_refused_before_anything_starts(uri: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_source({"kind": "mirror", "uri": uri})


def test_a_segment_that_the_address_cannot_name_is_gone(server: MisbehavingServer, tmp_path: Path) -> None:
    uri = server.url + "/{id}_{start:06d}_{end:06d}.mp4"
    with pytest.raises(Gone, match=r"whole seconds, and start of 'c' is 1\.5"):
        fetch(uri, tmp_path, Wanted("a", "c", 1.5, 2.0))
    with pytest.raises(Gone, match="no start"):
        fetch(uri, tmp_path, Wanted("a", "c"))
    with pytest.raises(Gone, match="no label"):
        fetch(server.url + "/{label}/{id}.mp4", tmp_path, Wanted("a", "c"))


@pytest.mark.thorough
def test_a_mirror_may_be_a_folder_or_a_bucket(
    tmp_path: Path, make_video: VideoMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    video = make_video("mirror/-abcdefghij_000005_000015.mp4", num_frames=2)
    folder = str(tmp_path / "mirror")
    assert fetch(folder + "/{clip_id}.mp4", tmp_path / "a").path.read_bytes() == video.read_bytes()
    assert Mirror(uri=folder + "/{clip_id}.mp4").host(CLIP) is None
    with pytest.raises(Gone, match="there is no"):
        fetch(folder + "/{id}.mp4", tmp_path / "a")
    with pytest.raises(Gone, match="max_bytes"):
        fetch(folder + "/{clip_id}.mp4", tmp_path / "a", max_bytes=10)
    with pytest.raises(Unreachable, match="there is no folder"):
        fetch(str(tmp_path / "unmounted") + "/{id}.mp4", tmp_path / "a")

    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    values = {"ACCESS_KEY_ID": "testing", "SECRET_ACCESS_KEY": "testing", "DEFAULT_REGION": "us-east-1"}
    for name, value in (values | {"ENDPOINT_URL": f"http://{host}:{port}"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="mirror")
    client.upload_file(str(video), "mirror", "k/-abcdefghij_000005_000015.mp4")
    source = Mirror(uri="s3://mirror/k/{clip_id}.mp4")
    assert source.host(CLIP) == "mirror"
    fetched = source.fetch(CLIP, tmp_path / "a")
    assert (fetched.path.read_bytes(), fetched.begins_at, fetched.ends_at) == (video.read_bytes(), 5.0, 15.0)
    with pytest.raises(Gone):
        Mirror(uri="s3://mirror/k/{id}.mp4").fetch(CLIP, tmp_path / "a")
    s3.stop()
    with pytest.raises(Unreachable):
        Mirror(uri="s3://mirror/k/{id}.mp4").fetch(CLIP, tmp_path / "a")
