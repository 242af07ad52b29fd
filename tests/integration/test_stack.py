"""The local stack, for real: four services, a flow run on the worker, a Ray driver, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from vidclf.processes import start_ticks

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]

FLOW = """
import os
from pathlib import Path
from prefect import flow

@flow
def hello(name: str = "nobody") -> None:
    Path(os.environ["VIDCLF_HOME"], "said").write_text(f"{name} in {os.getcwd()}, {os.environ['MLFLOW_TRACKING_URI']}")

@flow
def forever() -> None:
    Path(os.environ["VIDCLF_HOME"], "forever").write_text(str(os.getpid()))
    import time
    time.sleep(3600)
"""

PREFECT_YAML = """
name: test
deployments:
  - name: world
    entrypoint: greetings.hello.hello
    parameters: {name: world}
    work_pool: {name: local}
  - name: ever
    entrypoint: greetings.hello.forever
    work_pool: {name: local}
"""

DRIVER = """
import ray
ray.init(log_to_driver=False)
print(ray.get(ray.remote(lambda: 6 * 7).remote()))
"""


@dataclass
class Project:
    """A folder with a prefect.yaml, and ports of its own."""

    folder: Path
    home: Path
    ports: dict[str, int]

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        names = ("PREFECT_", "RAY_", "MLFLOW_", "VIDCLF_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        ports = {f"VIDCLF_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env={**clean, **ports, "VIDCLF_HOME": str(self.home), "PYTHONPATH": path, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def vidclf(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("-c", "from vidclf.cli import main; main()", *arguments)

    def stack(self) -> dict:
        return json.loads((self.home / "stack.json").read_text())

    def processes(self) -> list[psutil.Process]:
        """Everything that carries this home in its environment or its command, or is a child or a session of a service."""
        services = json.loads((self.home / "stack.json").read_text())["services"] if self.stack_exists() else []
        leaders = {service["pid"] for service in services}
        found = set()
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("VIDCLF_HOME") == str(self.home) or os.getsid(process.pid) in leaders
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found |= {process, *process.children(recursive=True)}
            except (psutil.Error, OSError):
                continue
        return [process for process in found if process.pid != os.getpid()]

    def stack_exists(self) -> bool:
        return (self.home / "stack.json").exists()

    def listens(self, name: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports[name])) == 0


def own_ports() -> dict[str, int]:
    """A free port of the loopback interface for each service, all different."""
    probes = {name: socket.create_server(("127.0.0.1", 0)) for name in ("prefect", "mlflow", "ray", "ray_metrics")}
    ports = {name: probe.getsockname()[1] for name, probe in probes.items()}
    for probe in probes.values():
        probe.close()
    return ports


@pytest.fixture
def project(tmp_path: Path, own_home: Path) -> Iterator[Project]:
    folder = tmp_path / "project"
    (folder / "greetings").mkdir(parents=True)
    (folder / "greetings" / "__init__.py").touch()
    (folder / "greetings" / "hello.py").write_text(FLOW)
    (folder / "prefect.yaml").write_text(PREFECT_YAML)
    (folder / "pyproject.toml").write_text(f'[tool.prefect]\nprofiles_path = "{own_home}/profiles.toml"\n')
    project = Project(folder, own_home, own_ports())
    yield project
    project.vidclf("down")


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_stack_comes_up_runs_a_deployment_and_leaves_nothing(project: Project) -> None:
    up = project.vidclf("up")
    assert up.returncode == 0, up.stderr
    assert f"http://127.0.0.1:{project.ports['prefect']}" in up.stdout
    assert "export" not in up.stdout  # prefect finds the server by itself

    status = project.vidclf("status")
    assert status.returncode == 0, status.stdout
    assert [line.split()[:2] for line in status.stdout.splitlines()] == [
        [name, "healthy"] for name in ("keeper", "prefect", "mlflow", "ray", "worker")
    ]

    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in project.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}

    run = project.run("-m", "prefect", "deployment", "run", "hello/world", "--watch")
    assert run.returncode == 0, run.stdout + run.stderr
    said = (project.home / "said").read_text()
    assert said == f"world in {project.folder}, http://127.0.0.1:{project.ports['mlflow']}"

    driver = project.run("-c", DRIVER, **project.stack()["environment"])
    assert driver.stdout.strip() == "42", driver.stderr

    before = project.stack()
    again = project.vidclf("up")
    assert again.returncode == 0, again.stderr
    assert "already running" in again.stdout
    assert project.stack() == before

    (project.folder / "prefect.yaml").write_text(PREFECT_YAML.replace("hello.forever", "hello.nowhere"))
    wrong = project.vidclf("up")
    assert wrong.returncode == 1
    assert "nowhere" in wrong.stderr
    assert wrong.stderr.splitlines()[-1].startswith("vidclf: the deployments of prefect.yaml cannot be written")
    assert project.vidclf("status").returncode == 0  # the stack that ran before still does

    project.run("-m", "prefect", "deployment", "run", "forever/ever")
    flow_run = wait_for(project.home / "forever")
    processes = project.processes()
    assert flow_run in {process.pid for process in processes}
    down = project.vidclf("down")
    assert down.returncode == 0, down.stderr
    assert running(processes) == []
    assert project.processes() == []
    assert not any(project.listens(name) for name in project.ports)
    assert not project.stack_exists()
    assert project.vidclf("status").returncode == 1


@pytest.mark.slow
def test_what_dies_is_started_again_and_seen_and_the_next_run_works(project: Project) -> None:
    assert project.vidclf("up").returncode == 0
    project.run("-m", "prefect", "deployment", "run", "forever/ever")
    flow_run = wait_for(project.home / "forever")
    kill(project, "ray", "mlflow", "worker")
    wait_until_healthy(project)
    assert state_of_the_run(project, "forever") == "RUNNING"  # it outlived its worker

    os.kill(flow_run, signal.SIGKILL)
    while state_of_the_run(project, "forever") != "CRASHED":  # and is not shown as running for ever
        time.sleep(0.5)

    kill(project, "prefect")
    wait_until_healthy(project)
    status = json.loads(project.vidclf("status", "--json").stdout)
    assert {one["name"]: one["restarts"] for one in status} == {
        **dict.fromkeys(("prefect", "mlflow", "ray"), 1),
        "keeper": 0,
        "worker": next(
            one["restarts"] for one in status if one["name"] == "worker"
        ),  # it may not bear the server's death
    }
    assert {one["last_death"]["why"] for one in status if one["restarts"] == 1} == {"was killed by SIGKILL"}
    assert "ray was killed by SIGKILL; it is started again" in (project.home / "logs/keeper.log").read_text()

    run = project.run("-m", "prefect", "deployment", "run", "hello/world", "--watch")
    assert run.returncode == 0, run.stdout + run.stderr
    driver = project.run("-c", DRIVER, **project.stack()["environment"])
    assert driver.stdout.strip() == "42", driver.stderr


@pytest.mark.slow
def test_a_stack_whose_keeper_was_killed_is_replaced(project: Project) -> None:
    assert project.vidclf("up").returncode == 0
    project.run("-m", "prefect", "deployment", "run", "forever/ever")
    wait_for(project.home / "forever")
    old = project.processes()
    kill(project, "keeper", "ray")
    assert project.vidclf("status").returncode == 1

    up = project.vidclf("up")
    assert up.returncode == 0, up.stderr
    assert "ended first" in up.stdout
    assert running(old) == []
    assert project.vidclf("status").returncode == 0
    # the run that was killed is not shown as running for ever
    assert state_of_the_run(project, "forever") == "CRASHED"


def test_a_taken_port_is_one_line_and_nothing_is_started(project: Project) -> None:
    with socket.create_server(("127.0.0.1", project.ports["mlflow"])):
        up = project.vidclf("up")
    assert up.returncode == 2
    assert up.stderr.count("\n") == 1
    assert f"port {project.ports['mlflow']} is taken" in up.stderr
    assert "--mlflow-port or VIDCLF_MLFLOW_PORT" in up.stderr
    assert project.processes() == []


def test_a_service_that_does_not_start_ends_the_others_and_shows_its_log(project: Project) -> None:
    project.home.mkdir()
    (project.home / "mlflow.db").write_text("no database at all, but long enough to be taken for one " * 50)
    up = project.vidclf("up")
    assert up.returncode == 1
    assert "file is not a database" in up.stderr
    assert up.stderr.splitlines()[-1].startswith("vidclf: mlflow ended with status")
    assert project.processes() == []
    assert not any(project.listens(name) for name in project.ports)
    assert not project.stack_exists()


def wait_for(path: Path) -> int:
    """The number in a file that another process is about to write."""
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return int(path.read_text())


def kill(project: Project, *names: str) -> None:
    """Kill services, and return when they are gone."""
    for service in [one for one in project.stack()["services"] if one["name"] in names]:
        os.kill(service["pid"], signal.SIGKILL)
        while start_ticks(service["pid"]) == service["started"]:
            time.sleep(0.02)


def wait_until_healthy(project: Project) -> None:
    while (status := project.vidclf("status")).returncode:
        assert "given up" not in status.stdout, status.stdout
        time.sleep(0.5)


def state_of_the_run(project: Project, flow: str) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{project.ports['prefect']}/api/flow_runs/filter",
        json.dumps({"flows": {"name": {"any_": [flow]}}}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        (run,) = json.load(answer)
    return run["state_type"]
