"""Servers that answer, refuse, fail, hang or are not there: real ones, on the loopback interface."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from flows.server import ServerError, prefect_server
from vidclf.reach import Unanswered, read_json, require_answer


class _Answers(BaseHTTPRequestHandler):
    """``/200``, ``/503`` …: the status that the path names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/").split("/")[0]))
        self.end_headers()
        self.wfile.write(b'{"version": 1}' if self.path.endswith("json") else b"well")

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the terminal."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Answers) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_what_is_answered_is_given_and_a_refusal_is_an_answer(server: str) -> None:
    assert require_answer(f"{server}/200") == b"well"
    assert require_answer(f"{server}/401") == b""
    assert read_json(f"{server}/200/json") == {"version": 1}


def test_a_server_that_cannot_answer_says_why(server: str, nobody: str) -> None:
    with pytest.raises(Unanswered, match=r"^answers 503 \(Service Unavailable\)$"):
        require_answer(f"{server}/503")
    with pytest.raises(Unanswered, match=r"^does not answer \(Connection refused\)$"):
        require_answer(nobody)
    with pytest.raises(Unanswered, match=r"^does not answer \(.*unknown url type.*\)$"):
        require_answer("no address at all")
    with pytest.raises(Unanswered, match=r"^answers something else than expected$"):
        read_json(f"{server}/200")


def test_a_server_that_hangs_is_not_waited_for() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(Unanswered, match=r"^does not answer within 0.2 s$"),
    ):
        require_answer(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.2)


def test_a_prefect_api_that_is_down_is_named_with_the_ways_out(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{nobody}/api")
    with (
        pytest.raises(ServerError, match=r"Prefect's API at .*/api does not answer \(Conn.*: start it .* or unset"),
        prefect_server(),
    ):
        raise AssertionError("it went on")


MLFLOW = """
from vidclf import tracking
try:
    tracking.find_finished("an experiment", "a name")
except tracking.TrackingError as error:
    print(error)
try:
    with tracking.ending("a run"):
        raise KeyError("the work's own")
except KeyError as error:
    print(error)
"""


@pytest.mark.thorough
def test_an_mlflow_that_is_down_is_named_at_once_and_hides_no_other_error(
    nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
    done = subprocess.run([sys.executable, "-c", MLFLOW], capture_output=True, text=True, timeout=60, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"MLflow at {nobody} does not answer (Connection refused): start it (`vidclf up`), or let")
    assert second == repr("the work's own")
    assert "run a run cannot be marked as failed" in done.stderr
