"""YouTube, through yt-dlp."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from vidclf.errors import Blocked, Gone, SourceError, Unreachable
from vidclf.redaction import scrubbed
from vidclf.sources import Fetched, Source, Wanted, register
from vidclf.sources._http import seconds_to_wait
from vidclf.sources._sections import NoSection, Part, RangeFile, copy_section, total_of

#: What yt-dlp's messages mean. The first pattern that is found decides; what none matches may pass, so it is
#: Unreachable. Blocked goes first, since YouTube says "unavailable", too, of what it only hides for an hour.
CAUSES: tuple[tuple[str, type[SourceError]], ...] = (
    (r"HTTP Error 429|Too Many Requests|rate.?limit|content isn.t available, try again later", Blocked),
    (r"confirm you.re not a bot|captcha|unusual traffic", Blocked),
    (r"HTTP Error 40[1237]\b|Tunnel connection failed: 40[1237]\b", Blocked),
    # of a video that exists: not yet, or not by this way
    (r"live event will begin|Premieres in|Premiere will begin|is offline|is not currently live", Unreachable),
    (
        r"HTTP Error 5\d\d|timed out|Unable to download (webpage|API page)[^;]*(reset|refused|resolve|urlopen)",
        Unreachable,
    ),
    (r"video data: HTTP Error 4\d\d", Unreachable),  # its address was good for some hours, or for another machine
    # YouTube gave no format, or none of the wanted ones: to this client, today. Another yt-dlp, JavaScript runtime or
    # `format` may get it, and so it is open; it is not Blocked, which would make everybody wait for one video
    (r"page needs to be reloaded|Requested format is not available|Only images are available", Unreachable),
    (r"confirm your age|age.restricted|inappropriate for some users", Gone),
    (r"Private video|members.only|This video is private|Join this channel|requires payment|purchase|rental", Gone),
    (r"Video unavailable|has been removed|account .*terminated|no longer available|does not exist", Gone),
    (r"video is (not available|unavailable)|live stream recording is not available|DRM protected", Gone),
    (r"not (made this video )?available in your country|blocked it in your country|copyright", Gone),
    (r"Incomplete YouTube ID|is not a valid URL|HTTP Error (404|410|451)", Gone),
)


def _watch_address(url: str) -> str:
    if url.count("{id}") != 1 or set(url.replace("{id}", "")) & set("{}") or not urlsplit(url).netloc:
        raise ValueError("an address with {id} once, as https://www.youtube.com/watch?v={id}")
    if "@" in urlsplit(url).netloc:
        raise ValueError("a user or password in an address would be seen by everybody who sees the configuration")
    return url


@register("youtube")
class YouTube(Source):
    """One video by its id, or a section of it. Cookies come from ``$VIDCLF_COOKIES`` (a file), a proxy from ``$VIDCLF_PROXY``."""

    rate: float | None = Field(
        300,
        gt=0,
        description="videos per hour, over all workers of all runs; None: no bound. 300 is what yt-dlp's own guide "
        "gives for a session without an account; faster, YouTube blocks the address",
    )
    format: str = Field("bv*[height<=480]/b[height<=480]/bv*/b", description="yt-dlp's format selection")
    rate_limit: int | None = Field(None, ge=1, description="bytes per second and download")
    sleep: float = Field(0.0, ge=0, description="seconds before each download")
    section_over: float | None = Field(
        300,
        gt=0,
        description="seconds; of a longer video only the wanted section is fetched, frame-exact, where the host serves "
        "ranges; None: always all of it",
    )
    url: Annotated[str, AfterValidator(_watch_address)] = Field(
        "https://www.youtube.com/watch?v={id}", description="where a video is watched; any site that yt-dlp knows"
    )

    def host(self, wanted: Wanted) -> str | None:
        """``youtube.com``."""
        return urlsplit(self.url).netloc.removeprefix("www.")

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        """See ``Source.fetch``."""
        import yt_dlp

        check_id(wanted.source_id)
        time.sleep(self.sleep)
        try:
            with yt_dlp.YoutubeDL(self._options(into)) as downloader:
                info = downloader.extract_info(self.url.format(id=wanted.source_id), download=False)
                _check_is_one_video(info)
                try:
                    return self._section(downloader, info, wanted, into)
                except NoSection:
                    return _whole(downloader, info)
        except yt_dlp.utils.YoutubeDLError as error:
            raise explain(str(error), _retry_after(error)) from None  # its cause may name a proxy's password
        finally:
            (into / "cookies.txt").unlink(missing_ok=True)

    def _options(self, into: Path) -> dict[str, Any]:
        from vidclf.media.ffmpeg import executable

        options = {
            "format": self.format,
            "outtmpl": str(into / "video.%(ext)s"),
            "quiet": True,
            "no_warnings": True,
            "noprogress": True,
            "logger": _Quiet(),
            "noplaylist": True,
            "cachedir": False,
            "retries": 0,  # the run retries, and counts
            "fragment_retries": 0,
            "skip_unavailable_fragments": False,  # or a video with holes would pass for whole
            "fixup": "never",
            "socket_timeout": 30,
            "ratelimit": self.rate_limit,
            "ffmpeg_location": executable(),
            "cookiefile": _own_cookies(into),
            "proxy": os.environ.get("VIDCLF_PROXY"),
        }
        return {name: value for name, value in options.items() if value is not None}

    def _section(self, downloader: Any, info: dict[str, Any], wanted: Wanted, into: Path) -> Fetched:
        """Only what is wanted of a long video.

        Raises:
            NoSection: all of it is wanted, or it is short, or cannot be read by ranges.
        """
        start, end, duration = wanted.time_start, wanted.time_end, info.get("duration")
        if self.section_over is None or start is None or end is None:
            raise NoSection
        if duration is not None and duration <= self.section_over:
            raise NoSection
        file = RangeFile(_ranged(downloader, _video_format(info)), self.rate_limit)
        return copy_section(file, start, end, self.section_over, into)


def check_id(source_id: str) -> None:
    """Raises ``Gone`` for what cannot be a YouTube id, before anybody is asked for it."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{11}", source_id):
        raise Gone(f"{source_id[:80]!r} is not a YouTube id")


def explain(message: str, retry_after: str | None = None) -> SourceError:
    """yt-dlp's message as one of our errors, without its colours, its advice to report a bug, and secrets.

    Args:
        retry_after: the header of that name in the answer that caused it.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", message).replace("ERROR: ", "")
    text = scrubbed(re.split(r"[;.] +please report", text, flags=re.IGNORECASE)[0].strip())[:300]
    wait = seconds_to_wait(retry_after)
    if wait is not None and re.search(r"HTTP Error 503", text):
        return Blocked(text, retry_after=wait)
    for pattern, kind in CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return Blocked(text, retry_after=wait) if kind is Blocked else kind(text)
    return Unreachable(text)


def _retry_after(error: BaseException) -> str | None:
    """The header Retry-After of the HTTP answer at the root of yt-dlp's error, which is closed."""
    from yt_dlp.networking.exceptions import HTTPError

    value: str | None = None
    for cause in _causes(error):
        if isinstance(cause, HTTPError):
            value = value or cause.response.headers.get("Retry-After")
            cause.close()
    return value


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that led to it; yt-dlp keeps it in several places."""
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        cause = pending.pop(0)
        if not isinstance(cause, BaseException) or any(cause is one for one in seen):
            continue
        seen.append(cause)
        yield cause
        kept = getattr(cause, "exc_info", None)
        pending += [kept[1] if kept else None, getattr(cause, "cause", None), cause.__cause__, cause.__context__]


def _check_is_one_video(info: dict[str, Any]) -> None:
    if info.get("_type", "video") != "video":
        raise Gone("the address shows a list of videos")
    if info.get("live_status") in ("is_live", "is_upcoming"):
        raise Unreachable("it is being broadcast, and no recording yet")


def _video_format(info: dict[str, Any]) -> dict[str, Any]:
    """The chosen format that holds the picture, if it is one file on a web server."""
    chosen = info.get("requested_formats") or [info]
    held = [one for one in chosen if one.get("vcodec") != "none"]
    if not held or held[0].get("protocol") not in ("http", "https") or held[0].get("fragments"):
        raise NoSection("not one file on a web server")
    return dict(held[0])


def _ranged(downloader: Any, chosen: dict[str, Any]) -> Any:
    """Ranged reads of a format through yt-dlp's own connections: its headers, cookies and proxy."""
    from yt_dlp.networking import Request

    def get(begin: int, end: int) -> Part:
        headers = {**chosen.get("http_headers", {}), "Accept-Encoding": "identity", "Range": f"bytes={begin}-{end - 1}"}
        with downloader.urlopen(Request(chosen["url"], headers=headers)) as response:
            if response.status != 206:
                raise NoSection("the host does not serve ranges")
            return Part(response.read(), total_of(response.headers.get("Content-Range")))

    return get


def _whole(downloader: Any, info: dict[str, Any]) -> Fetched:
    done = downloader.process_ie_result(info, download=True)
    paths = [Path(one["filepath"]) for one in done.get("requested_downloads") or []]
    if len(paths) != 1 or not paths[0].is_file():
        raise Unreachable("yt-dlp reported success and wrote no file")
    return Fetched(paths[0])


def _own_cookies(into: Path) -> str | None:
    """A copy of ``$VIDCLF_COOKIES``: yt-dlp writes into the file that it is given, and there are many of us."""
    given = os.environ.get("VIDCLF_COOKIES")
    if given is None:
        return None
    try:
        return str(shutil.copy(given, into / "cookies.txt"))
    except OSError as error:
        raise Unreachable(f"$VIDCLF_COOKIES, {given}: {error.strerror}") from None


class _Quiet:
    """What yt-dlp says on the way is not shown: it may name a proxy; what counts is in its errors."""

    def debug(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None: ...
