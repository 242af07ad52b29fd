"""Start programs that outlive us, find all that came of them, and end them."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from deployments.errors import StackError
from deployments.probes import HOST
from deployments.services import MARKER, Service
from vidclf.processes import start_ticks

GRACE_SECONDS = 10.0
PORT_SECONDS = 5.0


@dataclass(frozen=True)
class Running:
    """A service that was started. ``started`` tells it from a later process with the same pid."""

    name: str
    pid: int
    started: int
    url: str

    def is_alive(self) -> bool:
        return start_ticks(self.pid) == self.started


def start(service: Service, log: Path, output: int | None = None) -> tuple[Running, subprocess.Popen[bytes]]:
    """Start a service in a session of its own, so that no terminal and no Ctrl-C of ours ends it.

    Args:
        output: where its standard output goes (``subprocess.PIPE``, say); None: into the log too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            service.command,
            env=service.environment,
            stdin=subprocess.DEVNULL,
            stdout=sink if output is None else output,
            stderr=sink,
            start_new_session=True,
        )
    return Running(service.name, process.pid, start_ticks(process.pid) or 0, service.url), process


def members(services: Collection[Running], stack_id: str) -> list[psutil.Process]:
    """All processes of a stack: those in the services' sessions, those that carry the stack's id, and their children.

    No single sign finds them all: flow runs have sessions of their own, Ray's agents overwrite their environment, and
    orphans have lost their parents.
    """
    sessions = {service.pid for service in services if start_ticks(service.pid) in (service.started, None)}
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in sessions or (stack_id and process.environ().get(MARKER) == stack_id):
                found |= {process, *process.children(recursive=True)}
        except (psutil.Error, OSError):
            continue
    return [process for process in found if process.pid != os.getpid() and _runs(process)]


def carriers(variable: str) -> Iterator[tuple[psutil.Process, str]]:
    """The processes of this user that have a variable in their environment, and its value."""
    for process in psutil.process_iter():
        try:
            value = process.environ().get(variable)
        except (psutil.Error, OSError):
            continue
        if value is not None and _runs(process):
            yield process, value


def end(services: Collection[Running], stack_id: str) -> None:
    """End a stack and wait until none of its processes is left.

    Raises:
        StackError: some do not even end when killed.
    """
    for _ in range(2):  # twice, for what was started by others while those were ended
        end_all(members(services, stack_id))
    if left := members(services, stack_id):
        raise StackError(f"processes {', '.join(str(process.pid) for process in left)} do not end")


def end_all(processes: Iterable[psutil.Process]) -> None:
    """SIGTERM, then SIGKILL for those that are still there after the grace."""
    remaining = list(processes)
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for process in remaining:
            try:
                send(process)
            except psutil.NoSuchProcess:
                continue
        deadline = time.monotonic() + GRACE_SECONDS
        while remaining and time.monotonic() < deadline:
            remaining = [process for process in remaining if _runs(process)]
            time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface."""
    with socket.socket() as probe:
        # as servers do: connections that linger are no obstacle
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def listener(port: int) -> str:
    """Who listens on a port, for people: ``python, pid 123``; or that it is not ours to know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()}, pid {connection.pid}"
    except psutil.Error:
        pass
    return "by a process of somebody else"


def wait_until_free(ports: Collection[int]) -> None:
    """Wait until nobody listens on these ports, or for so long that it must be somebody else's process."""
    deadline = time.monotonic() + PORT_SECONDS
    while time.monotonic() < deadline and not all(is_free(port) for port in ports):
        time.sleep(0.05)
