"""YouTube, through pytube: offered because it was asked for. It does not work against YouTube as it is today.

Its last release is of May 2023, and YouTube has changed since: it fails on every video, mostly with a 400 of YouTube's
or because it does not find what it looks for in the page. Use ``youtube``. (The module has an underscore so that
``import pytube`` means the package.)
"""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from vidclf.errors import Gone, SourceError, Unreachable
from vidclf.redaction import scrubbed
from vidclf.sources import Fetched, Source, Wanted, register
from vidclf.sources._http import error_of
from vidclf.sources.youtube import check_id

TODAY = "pytube does not understand YouTube as it is today; the source `youtube` does"

#: The class of pytube's exception, by name, and what it means. The first that fits decides.
CAUSES: tuple[tuple[str, type[SourceError]], ...] = (
    ("LiveStreamError", Unreachable),  # being broadcast: a recording may follow
    ("VideoUnavailable", Gone),  # base of private, age-restricted, members only, region, no recording
    ("MaxRetriesExceeded", Unreachable),
)


@register("pytube")
class PyTube(Source):
    """One whole video by its id. A proxy comes from ``$VIDCLF_PROXY``."""

    rate: float | None = Field(300, gt=0, description="videos per hour, over all workers of all runs; see youtube")
    max_height: int = Field(480, ge=1, description="pixels; the largest picture up to this, else the smallest")
    sleep: float = Field(0.0, ge=0, description="seconds before each download")
    timeout: float = Field(30.0, gt=0, description="seconds of silence after which YouTube counts as down")

    def host(self, wanted: Wanted) -> str | None:
        """``youtube.com``."""
        return "youtube.com"

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        """See ``Source.fetch``."""
        check_id(wanted.source_id)
        time.sleep(self.sleep)
        return explained(lambda: self._download(wanted.source_id, into))

    def _download(self, source_id: str, into: Path) -> Fetched:
        import pytube

        proxy = os.environ.get("VIDCLF_PROXY")
        video = pytube.YouTube(
            f"https://www.youtube.com/watch?v={source_id}", proxies={"http": proxy, "https": proxy} if proxy else None
        )
        streams = [stream for stream in video.streams if stream.includes_video_track and stream.resolution]
        if not streams:
            raise Unreachable(TODAY)
        chosen = min(streams, key=self._preference)
        path = Path(
            chosen.download(
                str(into), f"video.{chosen.subtype}", skip_existing=False, timeout=self.timeout, max_retries=0
            )
        )
        if path.stat().st_size != chosen.filesize:
            raise Unreachable(f"cut short after {path.stat().st_size:,} of {chosen.filesize:,} bytes")
        return Fetched(path)

    def _preference(self, stream: Any) -> tuple[bool, int]:
        height = int(stream.resolution.rstrip("p"))
        return (height > self.max_height, height if height > self.max_height else -height)


def explained(download: Callable[[], Fetched]) -> Fetched:
    """Run ``download``; what pytube raises becomes one of our errors."""
    import pytube.exceptions

    try:
        return download()
    except (pytube.exceptions.PytubeError, OSError, http.client.HTTPException) as error:
        raise explain(error) from None
    except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        # it reaches into answers that look otherwise today
        raise Unreachable(f"{TODAY} ({type(error).__name__}: {str(error)[:100]})") from None


def explain(error: Exception) -> SourceError:
    """An exception of pytube's, or of the connection, as one of our errors."""
    import pytube.exceptions

    text = scrubbed(str(error) or type(error).__name__)[:300]
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return error_of(error.code, str(error.reason), error.headers.get("Retry-After"), "YouTube")
    for name, kind in CAUSES:
        if isinstance(error, getattr(pytube.exceptions, name)):
            return kind(text)
    if isinstance(error, pytube.exceptions.PytubeError):
        return Unreachable(f"{TODAY} ({text})")
    return Unreachable(text)
