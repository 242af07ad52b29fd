"""The local stack: a Prefect server, an MLflow server, a Ray head and a Prefect worker, as background processes.

``$VIDCLF_HOME/stack.json`` says what runs. It is written before anything waits, so that whatever happens to ``up``, the
next ``up`` or ``down`` finds what it started; its ``environment`` is empty until the stack is ready.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from deployments import probes, profile
from deployments.errors import StackError
from deployments.services import (
    WORK_POOL,
    Ports,
    Service,
    client_environment,
    deploy_command,
    log_file,
    ray_folder,
    servers,
    service_environment,
    worker,
    write_ray_token,
)
from deployments.supervision import Running, end, end_all, is_free, listener, members, start, wait_until_free
from vidclf.errors import ConfigError
from vidclf.home import stack_file

PREFECT_YAML = Path("prefect.yaml")
DEPLOY_SECONDS = 180.0
LINES_OF_LOG = 15


@dataclass(frozen=True)
class Stack:
    """What runs. Without services: nothing."""

    id: str
    ports: Ports
    services: tuple[Running, ...] = ()
    environment: dict[str, str] | None = None  # for clients; None while it is being started

    def is_running(self) -> bool:
        return bool(self.services and self.environment) and all(service.is_alive() for service in self.services)


def up(home: Path, ports: Ports, say: Callable[[str], None]) -> Stack:
    """Start the stack, unless it runs, and write the deployments of ./prefect.yaml to its server.

    Raises:
        ConfigError: there is no prefect.yaml here, or a port is taken; nothing was started.
        StackError: a service did not become healthy, or a deployment is wrong; what was started now is ended again.
    """
    if not PREFECT_YAML.exists():
        raise ConfigError(f"{PREFECT_YAML}: No such file; run this in the project's folder")
    with _alone(home):
        stack = read(home)
        if stack.is_running():
            _deploy(home, stack)
            return stack
        if stack.services:
            say("a part of the stack is gone; the rest is ended first")
            _end(home, stack)
        check_ports(ports)
        stack = Stack(secrets.token_hex(8), ports)
        try:
            write_ray_token(home)
            ray_folder(home).mkdir(mode=0o700, exist_ok=True)
            since = datetime.now(UTC)
            stack = _start(home, stack, servers(home, ports, stack.id), say)
            probes.close_orphaned_runs(_api(home, ports), WORK_POOL)
            stack = _start(home, stack, [worker(home, ports, stack.id, since)], say)
            _deploy(home, stack)
        except BaseException:  # also Ctrl-C: half a stack is of use to nobody
            _end(home, replace(stack, services=read(home).services))
            raise
        stack = replace(stack, environment=client_environment(home, ports))
        _write(home, stack)
        profile.write(home, _api(home, ports))
        return stack


def down(home: Path) -> bool:
    """End every process of the stack, and wait until they and their ports are gone. False if nothing ran.

    Raises:
        StackError: something does not end.
    """
    with _alone(home):
        stack = read(home)
        if stack.services:
            _end(home, stack)
        return bool(stack.services)


def health(home: Path, stack: Stack) -> dict[str, bool]:
    """Service → whether its process is there and answers."""
    epoch = datetime.fromtimestamp(0, UTC)
    services = [*servers(home, stack.ports, stack.id), worker(home, stack.ports, stack.id, epoch)]
    answers = {service.name: service.is_healthy for service in services}
    return {service.name: service.is_alive() and answers[service.name]() for service in stack.services}


def read(home: Path) -> Stack:
    """The stack as it was started; one without services where there is none."""
    try:
        held = json.loads(_file(home).read_text())
        return Stack(
            held["id"],
            Ports(**held["ports"]),
            tuple(Running(**service) for service in held["services"]),
            held["environment"] or None,
        )
    except FileNotFoundError:
        return Stack("", Ports())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(f"{_file(home)} cannot be read ({error}); end its processes, then delete it") from None


def check_ports(ports: Ports) -> None:
    """Raises ConfigError if a server could not listen on one of these."""
    numbers = asdict(ports)
    for name, port in numbers.items():
        way_out = f"choose another with --{name}-port or VIDCLF_{name.upper()}_PORT"
        if not is_free(port):
            raise ConfigError(f"port {port} is taken ({listener(port)}); {way_out}")
        if list(numbers.values()).count(port) > 1:
            raise ConfigError(f"port {port} is named twice; {way_out}")


def _start(home: Path, stack: Stack, services: list[Service], say: Callable[[str], None]) -> Stack:
    """The stack with these services too, all healthy. They start together."""
    processes = {}
    for service in services:
        running, processes[service.name] = start(service, log_file(home, service.name))
        stack = replace(stack, services=(*stack.services, running))
        _write(home, stack)
    for service in services:
        _wait_until_healthy(service, processes[service.name], log_file(home, service.name))
        say(f"{service.name:<8} {service.url}")
    return stack


def _wait_until_healthy(service: Service, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + service.patience
    while not service.is_healthy():
        if (status := process.poll()) is not None:
            raise StackError(f"{service.name} ended with status {status}; see {log}", _end_of(log))
        if time.monotonic() > deadline:
            raise StackError(f"{service.name} does not answer after {service.patience:.0f} s; see {log}", _end_of(log))
        time.sleep(0.2)


def _deploy(home: Path, stack: Stack) -> None:
    log = log_file(home, "deploy")
    with log.open("wb") as sink:
        try:
            done = subprocess.run(
                deploy_command(),
                env=service_environment(home, stack.ports, stack.id),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                timeout=DEPLOY_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StackError(
                f"writing the deployments takes longer than {DEPLOY_SECONDS:.0f} s; see {log}", _end_of(log)
            ) from None
    if done.returncode:
        raise StackError(f"the deployments of {PREFECT_YAML} cannot be written; see {log}", _end_of(log))


def _end_of(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-LINES_OF_LOG:])


def _end(home: Path, stack: Stack) -> None:
    profile.remove(home)
    workers = [service for service in stack.services if service.name == "worker"]
    if workers:  # first, while the server still hears what becomes of their flow runs
        end_all(members(workers, ""))
        probes.close_orphaned_runs(_api(home, stack.ports), WORK_POOL)
    end(stack.services, stack.id)
    wait_until_free(list(asdict(stack.ports).values()))
    shutil.rmtree(ray_folder(home), ignore_errors=True)
    _file(home).unlink(missing_ok=True)


def _file(home: Path) -> Path:
    return home / stack_file().name


def _api(home: Path, ports: Ports) -> str:
    return client_environment(home, ports)["PREFECT_API_URL"]


def _write(home: Path, stack: Stack) -> None:
    content = {**asdict(stack), "environment": stack.environment or {}}
    draft = _file(home).with_suffix(".tmp")
    draft.write_text(json.dumps(content, indent=2))
    draft.replace(_file(home))


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One ``up`` or ``down`` at a time."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "stack.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(f"another `vidclf up` or `vidclf down` is at work in {home}") from None
        yield
