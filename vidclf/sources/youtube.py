"""YouTube, through yt-dlp."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from pydantic import Field

from vidclf.errors import Blocked, Gone, SourceError, Unreachable
from vidclf.sources import Fetched, Source, Wanted, register

#: What yt-dlp's messages mean. The first pattern that is found decides; what none matches may pass, so it is Unreachable.
CAUSES: tuple[tuple[str, type[SourceError]], ...] = (
    (r"HTTP Error 429|Too Many Requests|rate.limit", Blocked),
    (r"Sign in to confirm you.re not a bot|HTTP Error 403|captcha", Blocked),
    (r"Sign in to confirm your age|age.restricted", Gone),
    (r"Private video|members.only|This video is private", Gone),
    (r"Video unavailable|has been removed|account .*terminated|no longer available|does not exist", Gone),
    (r"not (made this video )?available in your country|blocked it in your country|copyright", Gone),
    (r"Incomplete YouTube ID|is not a valid URL|HTTP Error 404|HTTP Error 410", Gone),
)


@register("youtube")
class YouTube(Source):
    """One video by its id. Cookies come from ``$VIDCLF_COOKIES`` (a file), a proxy from ``$VIDCLF_PROXY``."""

    format: str = Field("bv*[height<=480]/b[height<=480]/bv*/b", description="yt-dlp's format selection")
    rate_limit: int | None = Field(None, ge=1, description="bytes per second and download")
    sleep: float = Field(0.0, ge=0, description="seconds before each download")

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        """See ``Source.fetch``."""
        import yt_dlp

        if not re.fullmatch(r"[A-Za-z0-9_-]{11}", wanted.source_id):
            raise Gone(f"{wanted.source_id!r} is not a YouTube id")
        options = {
            "format": self.format,
            "outtmpl": str(into / "video.%(ext)s"),
            "quiet": True,
            "no_warnings": True,
            "noprogress": True,
            "noplaylist": True,
            "cachedir": False,
            "retries": 0,  # the run retries, and counts
            "socket_timeout": 30,
            "ratelimit": self.rate_limit,
            "sleep_interval": self.sleep,
            "cookiefile": _own_cookies(into),
            "proxy": os.environ.get("VIDCLF_PROXY"),
        }
        try:
            with yt_dlp.YoutubeDL({name: value for name, value in options.items() if value is not None}) as downloader:
                downloader.download([f"https://www.youtube.com/watch?v={wanted.source_id}"])
        except yt_dlp.utils.DownloadError as error:
            raise explain(str(error)) from error
        found = sorted(into.glob("video.*"))
        if not found:
            raise Unreachable("yt-dlp reported success and wrote no file")
        return Fetched(found[0])


def _own_cookies(into: Path) -> str | None:
    """A copy of ``$VIDCLF_COOKIES``: yt-dlp writes into the file that it is given, and there are many of us."""
    given = os.environ.get("VIDCLF_COOKIES")
    return None if given is None else str(shutil.copy(given, into / "cookies.txt"))


def explain(message: str) -> SourceError:
    """yt-dlp's message as one of our errors, without its colours and its advice to report a bug."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", message).replace("ERROR: ", "").split("; please report")[0].strip()
    for pattern, kind in CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return kind(text[:300])
    return Unreachable(text[:300])
