"""The keeper's rules, and the record that it shares with ``up``, ``down`` and ``status``. Processes are real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from deployments import keeper, record, stack
from deployments.commands import status
from deployments.keeper import MOST_DEATHS, Death, Guarded, Keeper, deaths, how_it_ended
from deployments.record import Stack
from deployments.services import HOST, MARKER, Ports, Service
from deployments.supervision import Running, end, start
from vidclf.processes import start_ticks

STACK = Stack("0123456789abcdef", Ports())


def service(script: str, name: str = "mlflow") -> Service:
    environment = {**os.environ, MARKER: STACK.id}
    return Service(name, [sys.executable, "-c", script], environment, "", lambda: True)


@pytest.fixture
def kept(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """A keeper that looks often, of a stack without services yet."""
    own_home.mkdir()
    record.update(own_home, lambda _: STACK)
    monkeypatch.setattr(keeper, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(keeper, "LONGEST_PAUSE", 0.01)
    return Keeper(own_home, STACK)


def run(kept: Keeper, *services: Service) -> None:
    """Start the services and watch until all of them are given up."""
    assert [one.name for one in kept._start_all(list(services))] == [one.name for one in services]
    kept.watch()


@pytest.mark.thorough
def test_a_service_that_dies_too_often_is_given_up_and_every_death_is_written_down(
    kept: Keeper, own_home: Path
) -> None:
    counter = own_home / "starts"
    # the first start lives until it is found healthy
    run(kept, service(f"import sys, time; open({str(counter)!r}, 'a').write('x'); time.sleep(0.5); sys.exit(3)"))
    assert counter.read_text() == "x" * (MOST_DEATHS + 1)
    died = deaths(own_home, STACK.id)
    assert [death.why for death in died] == ["ended with status 3"] * (MOST_DEATHS + 1)
    assert [death.given_up for death in died] == [False] * MOST_DEATHS + [True]
    assert deaths(own_home, "another stack") == []
    (standing,) = stack.status(own_home, record.read(own_home))
    assert (standing.state, standing.restarts) == ("given up", MOST_DEATHS)


@pytest.mark.thorough
def test_what_a_dead_service_leaves_is_ended_before_it_is_started_again(kept: Keeper, own_home: Path) -> None:
    pids = own_home / "pids"
    script = (
        "import os, subprocess, time\n"
        "left = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(pids)!r}, 'a').write(f'{{left.pid}}\\n')\n"
        "time.sleep(0.5); os.kill(os.getpid(), 9)"
    )
    run(kept, service(script))
    left = [int(line) for line in pids.read_text().splitlines()]
    assert len(left) == MOST_DEATHS + 1
    assert [start_ticks(pid) for pid in left] == [None] * len(left)
    assert deaths(own_home, STACK.id)[0].why == "was killed by SIGKILL"


@pytest.mark.thorough
def test_what_a_service_said_before_it_died_is_kept(kept: Keeper, own_home: Path) -> None:
    run(kept, service("import time; print('my last words'); time.sleep(0.5)"))
    assert "my last words" in (own_home / "logs/mlflow.log.1").read_text()


def test_a_service_that_does_not_even_start_is_an_error_with_its_log(kept: Keeper) -> None:
    dead = replace(service("print('no such thing'); raise SystemExit(2)"), is_healthy=lambda: False)
    with pytest.raises(keeper.StackError, match="mlflow ended with status 2") as caught:
        list(kept._start_all([dead]))
    assert "no such thing" in caught.value.log_end


def test_pauses_double_and_old_deaths_are_forgiven() -> None:
    with subprocess.Popen(["true"]) as process:
        guarded = Guarded(service(""), Running("mlflow", process.pid, 0, ""), process)
    assert [guarded.next_pause(now) for now in range(6)] == [0.0, 1.0, 2.0, 4.0, 8.0, None]
    assert guarded.next_pause(now=10_000.0) == 0.0


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (0, "ended with status 0"),
        (1, "ended with status 1"),
        (-9, "was killed by SIGKILL"),
        (-99, "was killed by signal 99"),
    ],
)
def test_how_a_process_ended_is_said_in_words(returncode: int, words: str) -> None:
    assert how_it_ended(returncode) == words


def test_two_that_write_the_record_at_once_lose_nothing(own_home: Path) -> None:
    own_home.mkdir()
    record.update(own_home, lambda _: STACK)

    def add(name: str) -> None:
        record.update(own_home, lambda now: now.with_service(Running(name, 1, 1, "")))

    names = [f"service-{number}" for number in range(20)]
    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.name for one in record.read(own_home).services} == set(names)


def test_a_service_started_again_keeps_its_place() -> None:
    first = Stack("x", Ports(), (Running("a", 1, 1, ""), Running("b", 2, 2, ""), Running("c", 3, 3, "")))
    assert [one.pid for one in first.with_service(Running("b", 9, 9, "")).services] == [1, 9, 3]
    assert [one.name for one in first.with_service(Running("d", 4, 4, "")).services] == ["a", "b", "c", "d"]


def test_status_tells_what_died_of_what_and_fails_while_it_does_not_work(own_home: Path, tmp_path: Path) -> None:
    running, process = start(service("import time; time.sleep(300)", "keeper"), tmp_path / "x.log")
    try:
        own_home.mkdir()
        gone = Running("ray", process.pid, 1, f"{HOST}:1")
        held = replace(STACK, services=(running, gone), environment={"RAY_ADDRESS": f"{HOST}:1"})
        record.update(own_home, lambda _: held)
        (own_home / "logs").mkdir()
        death = Death(STACK.id, "ray", "2026-11-21T12:00:00+00:00", "was killed by SIGKILL")
        (own_home / "logs/restarts.jsonl").write_text(json.dumps(asdict(death)) + "\n")
        said = CliRunner().invoke(status)
        assert said.exit_code == 1
        assert [line.split()[:2] for line in said.stdout.splitlines()] == [["keeper", "healthy"], ["ray", "restarting"]]
        assert "restarted once, last at 2026-11-21T12:00:00+00:00: it was killed by SIGKILL" in said.stdout
        as_json = json.loads(CliRunner().invoke(status, ["--json"]).stdout)
        assert as_json[1]["last_death"]["why"] == "was killed by SIGKILL"
    finally:
        end([running], STACK.id)
        process.wait()
    assert CliRunner().invoke(status).stdout.split()[:2] == ["keeper", "gone"]
