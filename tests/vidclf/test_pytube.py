"""What pytube raises becomes our errors. Whether it downloads cannot be tested: it does not, any more."""

from __future__ import annotations

import email.message
import socket
import urllib.error
from pathlib import Path

import pytest
from pytube import exceptions

from vidclf.errors import Blocked, Gone, SourceError, Unreachable
from vidclf.sources import Fetched, Wanted, parse_source
from vidclf.sources.pytube_ import PyTube, explain, explained

ID = "-abcdefghi_"


def answered(status: int, **headers: str) -> urllib.error.HTTPError:
    message = email.message.Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError("https://www.youtube.com", status, "reason", message, None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.VideoUnavailable(ID), Gone),
        (exceptions.VideoPrivate(ID), Gone),
        (exceptions.AgeRestrictedError(ID), Gone),
        (exceptions.MembersOnly(ID), Gone),
        (exceptions.VideoRegionBlocked(ID), Gone),
        (exceptions.RecordingUnavailable(ID), Gone),
        (exceptions.LiveStreamError(ID), Unreachable),
        (exceptions.RegexMatchError("get_throttling_function_name", "pattern"), Unreachable),
        (exceptions.ExtractError("nothing"), Unreachable),
        (exceptions.HTMLParseError("nothing"), Unreachable),
        (exceptions.MaxRetriesExceeded("nothing"), Unreachable),
        (exceptions.PytubeError("nothing"), Unreachable),
        (answered(429), Blocked),
        (answered(403), Blocked),
        (answered(404), Gone),
        (answered(410), Gone),
        (answered(400), Unreachable),
        (answered(500), Unreachable),
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), Unreachable),
        (TimeoutError("timed out"), Unreachable),
        (ConnectionResetError(104, "Connection reset by peer"), Unreachable),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_pytube_raises_is_understood(error: Exception, kind: type[SourceError]) -> None:
    assert type(explain(error)) is kind


@pytest.mark.parametrize(
    "error", [exceptions.RegexMatchError("caller", "pattern"), KeyError("streamingData"), TypeError("NoneType")]
)
def test_what_pytube_does_not_understand_names_the_source_that_does(error: Exception) -> None:
    def download() -> Fetched:
        raise error

    with pytest.raises(Unreachable, match="does not understand YouTube as it is today; the source `youtube` does"):
        explained(download)


def test_a_block_keeps_the_time_that_the_host_named() -> None:
    error = explain(answered(429, Retry_After="17"))
    assert isinstance(error, Blocked)
    assert error.retry_after == 17


@pytest.mark.parametrize("source_id", ["", "short", "../../../xx", "abcdefghijkl"])
def test_what_is_no_id_is_gone(source_id: str, tmp_path: Path) -> None:
    with pytest.raises(Gone, match="is not a YouTube id"):
        PyTube().fetch(Wanted(source_id, "c"), tmp_path)


def test_a_proxy_that_is_down_is_unreachable_and_its_password_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound and not listening: whoever comes is refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("VIDCLF_PROXY", f"http://me:s3cret@127.0.0.1:{taken.getsockname()[1]}")
        source = parse_source({"kind": "pytube"})
        assert source.host(Wanted(ID, ID)) == "youtube.com"
        with pytest.raises(Unreachable, match="refused") as failure:
            source.fetch(Wanted(ID, ID), tmp_path)
    assert "s3cret" not in repr(failure.value)
