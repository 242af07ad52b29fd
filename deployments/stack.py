"""The local stack: a Prefect server, an MLflow server, a Ray head and a Prefect worker, as background processes.

A keeper starts them, and starts anew what dies; see ``deployments.keeper``. What runs stands in ``stack.json``; see
``deployments.record``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from deployments import probes, profile, record
from deployments.errors import StackError
from deployments.keeper import Death, deaths, end_of
from deployments.record import Stack
from deployments.services import (
    WORK_POOL,
    Ports,
    client_environment,
    deploy_command,
    keeper,
    log_file,
    ray_folder,
    servers,
    service_environment,
    worker,
    write_ray_token,
)
from deployments.supervision import end, end_all, is_free, listener, members, start, wait_until_free
from vidclf.errors import ConfigError

PREFECT_YAML = Path("prefect.yaml")
DEPLOY_SECONDS = 180.0


def up(home: Path, ports: Ports, say: Callable[[str], None]) -> Stack:
    """Start the stack, unless it runs, and write the deployments of ./prefect.yaml to its server.

    Raises:
        ConfigError: there is no prefect.yaml here, or a port is taken; nothing was started.
        StackError: a service did not become healthy, or a deployment is wrong; what was started now is ended again.
    """
    if not PREFECT_YAML.exists():
        raise ConfigError(f"{PREFECT_YAML}: No such file; run this in the project's folder")
    with _alone(home):
        stack = record.read(home)
        if is_running(home, stack):
            _deploy(home, stack)
            return stack
        if stack.services:
            say("a part of the stack is gone; the rest is ended first")
            _end(home)
        check_ports(ports)
        stack = record.update(home, lambda _: Stack(secrets.token_hex(8), ports))
        try:
            write_ray_token(home)
            ray_folder(home).mkdir(mode=0o700, exist_ok=True)
            _start(home, stack, say)
            _deploy(home, stack)
        except BaseException:  # also Ctrl-C: half a stack is of use to nobody
            _end(home)
            raise
        profile.write(home, _api(home, ports))
        return record.update(home, lambda now: replace(now, environment=client_environment(home, ports)))


def down(home: Path) -> bool:
    """End every process of the stack, and wait until they and their ports are gone. False if nothing ran.

    Raises:
        StackError: something does not end.
    """
    with _alone(home):
        stack = record.read(home)
        if stack.services:
            _end(home)
        return bool(stack.services)


def is_running(home: Path, stack: Stack) -> bool:
    """Whether the stack is ready and kept: what is dead is about to be started again."""
    kept = stack.keeper is not None and stack.keeper.is_alive()
    return bool(kept and stack.environment) and not any(death.given_up for death in deaths(home, stack.id))


@dataclass(frozen=True)
class ServiceStatus:
    """How a service does."""

    name: str
    state: str  # healthy; not healthy: it does not answer; restarting; given up; gone
    pid: int
    url: str
    restarts: int
    last_death: Death | None

    @property
    def history(self) -> str:
        """How often it died, when last and of what; empty if it never did."""
        if self.last_death is None:
            return ""
        times = "restarted once" if self.restarts == 1 else f"restarted {self.restarts} times"
        return f"{times}, last at {self.last_death.at}: it {self.last_death.why}"


def status(home: Path, stack: Stack) -> list[ServiceStatus]:
    """Every service of the stack, the keeper first."""
    epoch = datetime.fromtimestamp(0, UTC)
    services = [*servers(home, stack.ports, stack.id), worker(home, stack.ports, stack.id, epoch)]
    answers = {service.name: service.is_healthy for service in services}
    kept = stack.keeper is not None and stack.keeper.is_alive()
    all_died = deaths(home, stack.id)
    found = []
    for service in stack.services:
        died = [death for death in all_died if death.service == service.name]
        last = died[-1] if died else None
        if service.is_alive():
            state = "healthy" if answers.get(service.name, service.is_alive)() else "not healthy"
        elif last is not None and last.given_up:
            state = "given up"
        else:
            state = "restarting" if kept else "gone"
        restarts = sum(not death.given_up for death in died)
        found.append(ServiceStatus(service.name, state, service.pid, service.url, restarts, last))
    return found


def check_ports(ports: Ports) -> None:
    """Raises ConfigError if a server could not listen on one of these."""
    numbers = asdict(ports)
    for name, port in numbers.items():
        way_out = f"choose another with --{name.replace('_', '-')}-port or VIDCLF_{name.upper()}_PORT"
        if not is_free(port):
            raise ConfigError(f"port {port} is taken ({listener(port)}); {way_out}")
        if list(numbers.values()).count(port) > 1:
            raise ConfigError(f"port {port} is named twice; {way_out}")


def _start(home: Path, stack: Stack, say: Callable[[str], None]) -> None:
    """Start the keeper, and wait until it says that all services work."""
    service = keeper(home, stack.ports, stack.id)
    running, process = start(service, log_file(home, service.name), output=subprocess.PIPE)
    record.update(home, lambda now: now.with_service(running))
    assert process.stdout is not None
    with process.stdout as reports:
        for line in reports:
            said = json.loads(line)
            if "service" in said:
                say(f"{said['service']:<8} {said['url']}")
            elif "error" in said:
                raise StackError(said["error"], said["log_end"])
            elif "ready" in said:
                return
    log = log_file(home, service.name)
    raise StackError(f"the keeper ended before the services worked; see {log}", end_of(log))


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
                f"writing the deployments takes longer than {DEPLOY_SECONDS:.0f} s; see {log}", end_of(log)
            ) from None
    if done.returncode:
        raise StackError(f"the deployments of {PREFECT_YAML} cannot be written; see {log}", end_of(log))


def _end(home: Path) -> None:
    profile.remove(home)
    keeper = record.read(home).keeper
    if keeper is not None and keeper.is_alive():  # first: it would start again what ends
        with contextlib.suppress(psutil.NoSuchProcess):
            end_all([psutil.Process(keeper.pid)])
    stack = record.read(home)  # what it started last is in there now
    workers = [service for service in stack.services if service.name == "worker"]
    if workers:  # next, while the server still hears what becomes of their flow runs
        end_all(members(workers, ""))
        probes.close_orphaned_runs(_api(home, stack.ports), WORK_POOL)
    end(stack.services, stack.id)
    wait_until_free(list(asdict(stack.ports).values()))
    shutil.rmtree(ray_folder(home), ignore_errors=True)
    record.remove(home)


def _api(home: Path, ports: Ports) -> str:
    return client_environment(home, ports)["PREFECT_API_URL"]


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
