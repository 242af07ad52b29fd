"""A web server that misbehaves as it is told, path by path, and remembers who asked for what and when.

    with MisbehavingServer() as server:
        server.serve("/a.mp4", b"...")                          # 200, with ranges
        server.serve("/busy", Status(429, {"Retry-After": "7"}))
        server.serve("/flaky.mp4", [Reset(), b"..."])           # first a reset, from then on the bytes
        server.serve("/cut.mp4", Truncated(b"...", after=1000))
        server.serve_folder("/tree", folder)                    # every file below a folder
        fetch(server.url + "/a.mp4")
        assert server.paths() == ["/a.mp4"]

A behaviour is any of the dataclasses below; plain bytes or a path of a file mean ``File``. A list is used up one by one, its last one
stays. What nobody described is 404. Every request is in ``server.requests``; queries are not part of the path.
"""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    time: float  # seconds, time.monotonic()
    path: str  # percent-decoded, without the query
    target: str  # as it was sent
    method: str
    headers: dict[str, str]  # lower-case names


class Behaviour(Protocol):
    """Answers one request. ``send`` is the handler of the standard library."""

    def answer(self, handler: Handler) -> None: ...


@dataclass(frozen=True)
class File:
    """200, or 206 where a range is asked for."""

    content: bytes | Path
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True  # False: a range is answered with all of it

    def answer(self, handler: Handler) -> None:
        content = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", "")) if self.ranges else None
        headers = dict(self.headers)
        if asked:
            begin = int(asked[1])
            end = min(int(asked[2]) if asked[2] else len(content) - 1, len(content) - 1)
            if begin >= len(content):
                handler.begin(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
                return
            headers["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
            handler.begin(206, headers | {"Content-Length": str(end - begin + 1)})
            handler.send(content[begin : end + 1])
        else:
            handler.begin(200, headers | {"Content-Length": str(len(content))})
            handler.send(content)


@dataclass(frozen=True)
class Status:
    """A status, with headers and a short body."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"no\n"

    def answer(self, handler: Handler) -> None:
        handler.begin(self.status, self.headers | {"Content-Length": str(len(self.body))})
        handler.send(self.body)


@dataclass(frozen=True)
class Redirect:
    """Sends the client elsewhere."""

    to: str
    status: int = 302

    def answer(self, handler: Handler) -> None:
        handler.begin(self.status, {"Location": self.to, "Content-Length": "0"})


@dataclass(frozen=True)
class Truncated:
    """Declares the whole length, and closes in good order after ``after`` bytes."""

    content: bytes
    after: int
    chunked: bool = False

    def answer(self, handler: Handler) -> None:
        if self.chunked:
            handler.begin(200, {"Transfer-Encoding": "chunked"})
            handler.send(b"%x\r\n" % len(self.content) + self.content[: self.after])
        else:
            handler.begin(200, {"Content-Length": str(len(self.content))})
            handler.send(self.content[: self.after])


@dataclass(frozen=True)
class Endless:
    """No length, no chunks: the end of the connection is the end of the body, whatever that means."""

    content: bytes

    def answer(self, handler: Handler) -> None:
        handler.begin(200, {})
        handler.send(self.content)


@dataclass(frozen=True)
class Reset:
    """Tears the connection down (RST), before the first byte or after ``after`` bytes of ``content``."""

    content: bytes = b""
    after: int = 0

    def answer(self, handler: Handler) -> None:
        if self.content:
            handler.begin(200, {"Content-Length": str(len(self.content))})
            handler.send(self.content[: self.after])
        handler.wfile.flush()
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            handler.connection.close()


@dataclass(frozen=True)
class Trickle:
    """Sends one byte after the other, ``pause`` seconds apart, until the client or the server gives up."""

    content: bytes
    pause: float = 0.05
    headers_too: bool = False  # from the first byte of the headers on

    def answer(self, handler: Handler) -> None:
        if self.headers_too:
            self._slowly(handler, b"HTTP/1.1 200 OK\r\n" + b"X-Waiting: yes\r\n" * 50)
        handler.begin(200, {"Content-Length": str(len(self.content))})
        self._slowly(handler, self.content)

    def _slowly(self, handler: Handler, data: bytes) -> None:
        for byte in data:
            handler.send(bytes([byte]))
            if handler.stopping.wait(self.pause):
                return


@dataclass(frozen=True)
class Silence:
    """Accepts the request and says nothing, or ``first`` and then nothing."""

    first: bytes = b""

    def answer(self, handler: Handler) -> None:
        if self.first:
            handler.begin(200, {"Content-Length": str(len(self.first) + 1)})
            handler.send(self.first)
        handler.stopping.wait()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection, one request."""

    server: _Server

    @property
    def stopping(self) -> threading.Event:
        return self.server.owner.stopping

    def begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, data: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        lowered = {name.lower(): value for name, value in self.headers.items()}
        behaviour = self.server.owner.next_for(Request(time.monotonic(), path, self.path, self.command, lowered))
        with contextlib.suppress(ConnectionError):  # the client hung up: often the point of the test
            behaviour.answer(self)

    do_HEAD = do_GET

    def log_message(self, *args: Any) -> None:
        """The log is ``MisbehavingServer.requests``."""


class _Server(http.server.ThreadingHTTPServer):
    owner: MisbehavingServer
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was torn down on purpose cannot be flushed; other errors are the test's bug, and shown."""
        import sys

        if not isinstance(sys.exception(), (OSError, ValueError)):
            super().handle_error(request, client_address)


Described = Behaviour | bytes | Path


class MisbehavingServer:
    """See the module."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._behaviours: dict[str, list[Behaviour]] = {}
        self._folders: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.netloc}"

    def __enter__(self) -> MisbehavingServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, path: str, behaviour: Described | Sequence[Described]) -> str:
        """What ``path`` does from now on; returns its address."""
        listed = [behaviour] if isinstance(behaviour, (bytes, Path)) or hasattr(behaviour, "answer") else behaviour
        with self._lock:
            self._behaviours[path] = [File(one) if isinstance(one, (bytes, Path)) else one for one in listed]  # type: ignore[union-attr]
        return self.url + path

    def serve_folder(self, prefix: str, folder: Path) -> str:
        """Every file below ``folder`` under ``prefix``; what ``serve`` says of a path goes before it."""
        with self._lock:
            self._folders[prefix.rstrip("/") + "/"] = folder
        return self.url + prefix

    def next_for(self, request: Request) -> Behaviour:
        with self._lock:
            self.requests.append(request)
            listed = self._behaviours.get(request.path)
            if listed:
                return listed.pop(0) if len(listed) > 1 else listed[0]
            for prefix, folder in self._folders.items():
                file = folder / request.path.removeprefix(prefix)
                if request.path.startswith(prefix) and ".." not in request.path and file.is_file():
                    return File(file)
        return Status(404)

    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        with self._lock:
            return [request.path for request in self.requests]
