"""A real S3 server over HTTP that answers conditional writes as other stores, and bad networks, do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

StartResponse = Callable[..., Any]
App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")


class AwkwardS3:
    """``next_write`` says what becomes of the next conditional writes, one word each; "" is the usual answer.

    ``lost``: done, but the connection breaks before the answer, so that the client repeats it. ``conflict``: not done,
    409, as AWS where two write at once. ``terse``: every refusal is a 412 without a body, always. ``unknown``: 501, always.
    """

    def __init__(self, always: str = "") -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.always = always
        self.next_write: list[str] = []
        self.writes: list[str] = []  # what became of the conditional ones
        self._app: App = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> AwkwardS3:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "PUT" or not any(name in environ for name in CONDITIONS):
            return self._app(environ, start)
        what = self.next_write.pop(0) if self.next_write else self.always
        self.writes.append(what)
        if what == "unknown":
            return _error(environ, start, "501 Not Implemented", "NotImplemented")
        if what == "conflict":
            return _error(environ, start, "409 Conflict", "ConditionalRequestConflict")
        if what == "lost":
            b"".join(self._app(environ, lambda *args: None))
            environ["werkzeug.socket"].close()
            return []
        said: list[Any] = []
        body = b"".join(self._app(environ, lambda *args: said.extend(args)))
        if what == "terse" and said[0].startswith("412"):
            start("412 Precondition Failed", [("Content-Length", "0")])
            return [b""]
        start(*said)
        return [body]


def _error(environ: dict[str, Any], start: StartResponse, status: str, code: str) -> Iterable[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]
