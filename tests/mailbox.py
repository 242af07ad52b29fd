"""An HTTP server on the loopback interface that keeps what is posted to it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Mailbox(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.letters: list[dict[str, Any]] = []


class _Post(BaseHTTPRequestHandler):
    server: Mailbox

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.letters.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the terminal."""


@contextlib.contextmanager
def open_mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        thread = threading.Thread(target=box.serve_forever)
        thread.start()
        try:
            yield box
        finally:
            box.shutdown()
            thread.join()
