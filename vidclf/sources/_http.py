"""HTTP as a polite and suspicious client speaks it: every answer becomes bytes that are complete, or one of our errors.

The standard library's client, with three things added: a server that trickles is as silent as one that says nothing,
a body that is cut short is an error and not a shorter file, and an error keeps what the host asked for (Retry-After).
Proxies come from the usual variables (``https_proxy``, ``no_proxy``).
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import http.client
import io
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from vidclf.errors import Blocked, Gone, SourceError, Unreachable
from vidclf.redaction import scrubbed, shown

GONE = (404, 410, 451)
#: asks for a sign-in, a payment (how some hosts say "too much"), forbids, a proxy that wants a password, too many
BLOCKED = (401, 402, 403, 407, 429)

CHUNK = 1 << 18  # bytes per read
LEAST_BYTES = 1024  # that arrive within the time-out; fewer is a trickle that would take days
LONGEST_WAIT = 24 * 3600.0  # seconds; a host that asks for more gets a day
MAX_REDIRECTS = 5


@contextlib.contextmanager
def opened(
    url: str, timeout: float, first_bytes: int | None = None, gone: Collection[int] = GONE
) -> Iterator[http.client.HTTPResponse]:
    """GET ``url``; the response, whose ``read`` raises where the body stalls.

    Args:
        timeout: seconds of silence, of connecting, or of a trickle, after which the host counts as down.
        first_bytes: ask for so many bytes of the beginning only; a host may send all the same.
        gone: statuses that mean that it is not there.

    Raises:
        Gone, Blocked, Unreachable: see ``error_of``.
    """
    headers = {"User-Agent": "vidclf", "Accept-Encoding": "identity"}
    if first_bytes is not None:
        headers["Range"] = f"bytes=0-{first_bytes - 1}"
    with explained(url, timeout, gone):
        response = _opener().open(urllib.request.Request(url, headers=headers), timeout=timeout)
    with response:
        if first_bytes is None and response.status != 200:
            raise Unreachable(f"{shown(url)}: HTTP {response.status} to a request for all of it")
        yield response


def head(url: str, count: int, timeout: float) -> bytes:
    """The first ``count`` bytes at ``url``, or all where there are fewer.

    Raises:
        Gone, Blocked, Unreachable: see ``opened``.
    """
    with opened(url, timeout, first_bytes=count) as response:
        data = b""
        for chunk in whole_body(response, url, timeout):
            data += chunk
            if len(data) >= count:  # the host sends more than was asked for
                break
        return data[:count]


def download(url: str, to: Path, timeout: float, max_bytes: int | None = None, gone: Collection[int] = GONE) -> None:
    """Download ``url`` into the file ``to``, whole; where it fails, no file is left.

    Raises:
        Gone: it is not there; also where it is larger than ``max_bytes``, since it would be so the next time too.
        Blocked, Unreachable: see ``opened``.
    """
    try:
        with opened(url, timeout, gone=gone) as response, to.open("wb") as file:
            if (response.headers.get("Content-Encoding") or "identity").lower() != "identity":
                raise Unreachable(f"{shown(url)}: sent compressed, which was not asked for")
            if response.headers.get_content_type() == "text/html":
                raise Unreachable(f"{shown(url)}: a web page was sent instead of a file")
            size = 0
            for chunk in whole_body(response, url, timeout):
                size += len(chunk)
                if max_bytes is not None and size > max_bytes:
                    raise Gone(f"{shown(url)}: larger than max_bytes, {max_bytes:,}, allows")
                file.write(chunk)
            if size == 0:
                raise Unreachable(f"{shown(url)}: an empty file was sent")
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def whole_body(response: http.client.HTTPResponse, url: str, timeout: float) -> Iterator[bytes]:
    """The body in chunks.

    Raises:
        Unreachable: it stalled, was reset or ended early; or the host did not say how long it is, so that nobody can
            tell.
    """
    declared = declared_length(response)
    if declared is None and not response.chunked:
        raise Unreachable(f"{shown(url)}: the host does not say how long the file is, so that it may be cut short")
    size = 0
    while True:
        with explained(url, timeout):
            chunk = response.read(CHUNK)
        if not chunk:
            break
        size += len(chunk)
        yield chunk
    if declared is not None and size != declared:
        raise Unreachable(f"{shown(url)}: cut short after {size:,} of {declared:,} bytes")


def declared_length(response: http.client.HTTPResponse) -> int | None:
    """The body's length as the host declares it; None where it does not."""
    value = response.headers.get("Content-Length")
    return int(value) if value is not None and value.isascii() and value.isdigit() and not response.chunked else None


class Body(io.RawIOBase):
    """A response's body as a raw file for readers that want one; its end is certain, or it raises Unreachable."""

    def __init__(self, response: http.client.HTTPResponse, url: str, timeout: float):
        self._chunks = whole_body(response, url, timeout)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


@contextlib.contextmanager
def explained(url: str, timeout: float, gone: Collection[int] = GONE) -> Iterator[None]:
    """Network errors as ours, with the address and without what is secret in it."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        reason = error.reason if isinstance(error.reason, str) else ""
        raise error_of(error.code, reason, error.headers.get("Retry-After"), shown(url), gone) from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an address that makes no sense
        raise Unreachable(f"{shown(url)}: {_in_words(error, timeout)}") from None


def error_of(status: int, reason: str, retry_after: str | None, what: str, gone: Collection[int] = GONE) -> SourceError:
    """An HTTP status as one of our errors. A 503 that names a time is a host that wants to be left alone: Blocked."""
    message = scrubbed(f"{what}: HTTP {status} {reason}".strip()[:300])
    if status in gone:
        return Gone(message)
    wait = seconds_to_wait(retry_after)
    if status in BLOCKED or (status == 503 and wait is not None):
        return Blocked(message, retry_after=wait)
    return Unreachable(message)


def seconds_to_wait(retry_after: str | None) -> float | None:
    """The header Retry-After, seconds or an HTTP date, as seconds from now; None where it is not there or nonsense."""
    value = (retry_after or "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_WAIT)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=datetime.UTC)
    return min(max(0.0, until.timestamp() - time.time()), LONGEST_WAIT)


def _in_words(error: BaseException, timeout: float) -> str:
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(error, urllib.error.URLError) and isinstance(reason, BaseException) else error
    if isinstance(cause, TimeoutError):
        return f"silent for {timeout:g} s"
    if isinstance(cause, http.client.IncompleteRead):
        return "cut short"
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return scrubbed(str(text))[:300]


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(("http://", "https://")):
            fp.close()
            raise Unreachable(f"{shown(req.full_url)}: redirects to something that is not HTTP: {shown(newurl)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _PatientSocket(io.RawIOBase):
    """A socket's bytes, read with a time-out that a trickle does not reset.

    Only the time spent waiting counts: a reader that is slow itself is no silence.
    """

    def __init__(self, raw: socket.SocketIO, timeout: float):
        self._raw, self._timeout = raw, timeout
        self._waited, self._received = 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        begin = time.monotonic()
        count: int | None = self._raw.readinto(buffer)
        self._waited += time.monotonic() - begin
        self._received += count or 0
        if self._received >= LEAST_BYTES:
            self._waited, self._received = 0.0, 0
        elif self._waited > self._timeout and count:
            raise TimeoutError("a trickle")
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Makefile:
    """What an HTTPResponse wants of a socket."""

    def __init__(self, sock: socket.socket):
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        raw = self._sock.makefile("rb", buffering=0)
        return io.BufferedReader(_PatientSocket(raw, self._sock.gettimeout() or 60.0))


class _PatientResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any):
        super().__init__(_Makefile(sock), *args, **kwargs)  # type: ignore[arg-type]


class _Connection(http.client.HTTPConnection):
    response_class = _PatientResponse


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _PatientResponse


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS only: no files, no FTP, no data addresses, whatever a redirect says."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
        _Handler(),
        _SecureHandler(),
    ):
        opener.add_handler(handler)
    return opener
