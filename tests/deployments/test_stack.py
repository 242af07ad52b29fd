"""The parts of the local stack that need no servers. Processes and ports are real."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deployments import profile
from deployments.services import HOST, MARKER, Ports, Service, ray_folder, servers, write_ray_token
from deployments.stack import check_ports
from deployments.supervision import Running, end, members, start
from vidclf.errors import ConfigError
from vidclf.home import running_stack, stack_file
from vidclf.processes import start_ticks

STACK_ID = "0123456789abcdef"


def free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind((HOST, 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def service(script: str) -> Service:
    environment = {**os.environ, MARKER: STACK_ID}
    return Service("worker", [sys.executable, "-c", script], environment, "", lambda: True)


def test_a_taken_port_is_refused_with_the_ways_out() -> None:
    prefect, mlflow = free_ports(2)
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is taken .*--ray-port or VIDCLF_RAY_PORT"):
            check_ports(Ports(prefect, mlflow, port))


def test_two_services_cannot_share_a_port() -> None:
    prefect, mlflow = free_ports(2)
    with pytest.raises(ConfigError, match="named twice"):
        check_ports(Ports(prefect, mlflow, prefect))


def test_a_service_writes_its_log_and_has_a_session_of_its_own(tmp_path: Path) -> None:
    running, process = start(service("print('hello'); import time; time.sleep(60)"), tmp_path / "logs" / "x.log")
    try:
        assert running.is_alive()
        assert os.getsid(running.pid) == running.pid
    finally:
        end([running], STACK_ID)
    assert process.wait() in (-signal.SIGTERM, 1)
    assert not running.is_alive()


def test_the_end_of_a_stack_reaches_orphans_in_sessions_of_their_own(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "inner = [sys.executable, '-c', 'import subprocess, sys; subprocess.Popen([\"sleep\", \"300\"]); print(1)']\n"
        "subprocess.run(inner, start_new_session=True)\n"
        "print('ready', flush=True); time.sleep(300)"
    )
    log = tmp_path / "x.log"
    running, process = start(service(script), log)
    while "ready" not in log.read_text() and process.poll() is None:
        time.sleep(0.02)
    orphan = next(member for member in members([running], STACK_ID) if member.name() == "sleep")
    end([running], STACK_ID)
    process.wait()
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert members([running], STACK_ID) == []


def test_the_session_of_a_killed_service_is_still_its_own(tmp_path: Path) -> None:
    script = (
        "import os, subprocess, time\n"
        f"environment = {{k: v for k, v in os.environ.items() if k != {MARKER!r}}}\n"
        "subprocess.Popen(['sleep', '300'], env=environment); print('ready', flush=True); time.sleep(300)"
    )
    log = tmp_path / "x.log"
    running, process = start(service(script), log)
    while "ready" not in log.read_text() and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    (orphan,) = members([running], STACK_ID)
    end([running], STACK_ID)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_later_process_with_the_same_pid_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as bystander:
        started = start_ticks(bystander.pid)
        assert started is not None
        earlier = Running("worker", bystander.pid, started - 1, "")
        end([earlier], STACK_ID)
        assert bystander.poll() is None
        bystander.kill()


def test_the_stack_counts_as_running_only_while_its_keeper_is_the_one_that_was_started() -> None:
    def write(started: int | None, environment: dict[str, str]) -> None:
        stack_file().parent.mkdir(parents=True, exist_ok=True)
        keeper = {"name": "keeper", "pid": os.getpid(), "started": started, "url": ""}
        dead = {"name": "mlflow", "pid": os.getpid(), "started": 1, "url": ""}  # about to be started again
        services = [keeper, dead]
        stack_file().write_text(json.dumps({"services": services, "environment": environment}))

    own = start_ticks(os.getpid())
    assert running_stack() == {}
    write(own, {})  # still being started
    assert running_stack() == {}
    write(own, {"RAY_ADDRESS": "127.0.0.1:1"})
    assert running_stack() == {"RAY_ADDRESS": "127.0.0.1:1"}
    write((own or 0) + 1, {"RAY_ADDRESS": "127.0.0.1:1"})
    assert running_stack() == {}


def test_a_process_that_ended_has_no_start() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        assert start_ticks(process.pid) is None
    assert start_ticks(process.pid) is None


def test_every_server_listens_on_the_loopback_interface_alone(tmp_path: Path) -> None:
    for server in servers(tmp_path, Ports(), STACK_ID):
        hosts = [
            value
            for option, value in zip(server.command, server.command[1:], strict=False)
            if option.endswith(("host", "address"))
        ]
        assert hosts
        assert set(hosts) == {HOST}


def test_the_users_ray_token_does_not_reach_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    for server in servers(tmp_path, Ports(), STACK_ID):
        assert "RAY_AUTH_TOKEN" not in server.environment


def test_rays_token_is_for_this_user_only(tmp_path: Path) -> None:
    write_ray_token(tmp_path)
    first = (tmp_path / "ray_token").read_text()
    write_ray_token(tmp_path)
    assert (tmp_path / "ray_token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ray_token").read_text() != first


def test_two_homes_do_not_share_rays_folder(tmp_path: Path) -> None:
    assert ray_folder(tmp_path / "a") != ray_folder(tmp_path / "b")
    assert len(ray_folder(tmp_path / "a" / ("x" * 200)).name) < 40


def test_prefect_finds_the_profile_only_where_the_project_names_it(tmp_path: Path) -> None:
    home = tmp_path / ".vidclf"
    assert not profile.is_found(home, tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.prefect]\nprofiles_path = ".vidclf/profiles.toml"\n')
    assert profile.is_found(home, tmp_path)
    assert not profile.is_found(tmp_path / "elsewhere", tmp_path)
