"""A Prefect server for the length of one command, for people who run no stack.

Must be entered before anything imports Prefect, which reads its settings then.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from vidclf.errors import VidclfError
from vidclf.home import home, running_stack, silence_libraries
from vidclf.processes import die_with_parent
from vidclf.reach import Unanswered, require_answer

START_SECONDS = 120.0


class ServerError(VidclfError):
    """A Prefect server does not answer, or the embedded one did not start."""

    kind = "server"


@contextlib.contextmanager
def prefect_server() -> Iterator[str]:
    """The API's address: of ``$PREFECT_API_URL``, of the running local stack, or of a server of our own.

    Raises:
        ServerError: it does not answer, or does not start; with the end of its log.
    """
    silence_libraries()
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # the progress display speaks
    stack = running_stack()
    if "PREFECT_API_URL" not in os.environ and stack:
        for name, value in stack.items():
            os.environ.setdefault(name, value)
    if address := os.environ.get("PREFECT_API_URL"):
        try:
            require_answer(f"{address.rstrip('/')}/health")
        except Unanswered as error:
            raise ServerError(
                f"Prefect's API at {address} {error}: start it (`vidclf up`), or unset $PREFECT_API_URL to do without"
            ) from None
        yield address
        return
    folder = home() / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(folder)
    port = free_port()
    log = folder / "server.log"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (
        log.open("ab") as sink,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, preexec_fn=die_with_parent
        ) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}/api"
            _wait_until_healthy(address, process, log)
            os.environ["PREFECT_API_URL"] = address
            yield address
        finally:
            os.environ.pop("PREFECT_API_URL", None)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{address}/health", timeout=5),
        ):
            return
        time.sleep(0.2)
    process.kill()
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise ServerError(f"the Prefect server did not start: {' '.join(last) or 'it said nothing'} (all of it: {log})")
