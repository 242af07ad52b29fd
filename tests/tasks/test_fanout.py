"""The fan-out loses no job, whatever becomes of its workers. Ray is real."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from tasks import fanout
from tasks.cluster import cluster, num_cpus, smallest_node_cpus
from tasks.fanout import Cancelled, Settled, fan_out
from vidclf.errors import Gone, Postponed, StorageError, Unreachable

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    with cluster():
        yield


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "BACKOFF_SECONDS", 0.01)
    fanout.stopping.clear()


def work(job: tuple[str, str]) -> str:
    """A job says what is to become of it; the file counts its attempts."""
    what, path = job
    with Path(path).open("a") as count:
        count.write(".")
    attempts = Path(path).stat().st_size
    if what == "gone":
        raise Gone("not there")
    if what == "bug":
        raise ZeroDivisionError("unforeseen")
    if what == "flaky" and attempts < 3:
        raise Unreachable("try again")
    if what == "unreachable":
        raise Unreachable("never there")
    if what == "crash" or (what == "crash once" and attempts == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "store":
        raise StorageError("the store is away")
    if what == "slow":
        time.sleep(60)
    if what == "crash, then wait" and attempts % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "crash, then wait" and attempts < 6:
        raise Postponed("host", time.time())
    if what == "full":
        with open("/dev/full", "w") as file:
            file.write("x")
    if what == "deaf":  # to the alarm that ends a job in time
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(60)
    if what == "stuck in C":  # and keeps the interpreter from its other threads
        ctypes.PyDLL(None).sleep(60)
    if what == "half a second":
        time.sleep(0.5)
    if what == "how many CPUs" and attempts == 1:
        raise ZeroDivisionError("so that it is tried alone")
    if what == "how many CPUs":
        return str(ray.get_runtime_context().get_assigned_resources()["CPU"])
    return f"{what} done"


def run(tmp_path: Path, *whats: str, timeout: float = 30.0) -> dict[str, Settled[tuple[str, str], str]]:
    jobs = [(what, str(tmp_path / what.replace(" ", "-"))) for what in whats]
    return {settled.job[0]: settled for settled in fan_out(work, jobs, timeout=timeout, attempts=3)}


def test_every_job_settles_exactly_once_and_with_its_own_error(tmp_path: Path) -> None:
    ends = run(tmp_path, "fine", "gone", "flaky", "unreachable", "bug", "crash", "crash once")
    assert {what: end.error.kind if end.error else end.value for what, end in ends.items()} == {
        "fine": "fine done",
        "gone": "gone",
        "flaky": "flaky done",
        "unreachable": "unreachable",
        "bug": "crashed",
        "crash": "crashed",
        "crash once": "crash once done",
    }
    attempts = {what: end.attempts for what, end in ends.items()}
    assert attempts == {
        "fine": 1, "gone": 1, "flaky": 3, "unreachable": 3, "bug": 2, "crash": 2, "crash once": 2,
    }  # fmt: skip
    assert "ZeroDivisionError: unforeseen" in str(ends["bug"].error)
    for what, number in attempts.items():  # Ray tried nothing behind our back
        assert (tmp_path / what.replace(" ", "-")).stat().st_size == number


def test_a_store_that_stays_away_ends_the_stage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the store is away"):
        run(tmp_path, "store")
    assert (tmp_path / "store").stat().st_size == 3


def test_a_job_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "GRACE_SECONDS", 0.5)
    ends = run(tmp_path, "slow", "fine", timeout=2.0)
    assert ends["fine"].value == "fine done"
    assert ends["slow"].error is not None
    assert ends["slow"].error.kind == "timeout"


def test_stopping_cancels_what_is_in_flight_and_frees_every_place(tmp_path: Path) -> None:
    ends = fan_out(work, [("fine", str(tmp_path / "a")), ("slow", str(tmp_path / "b"))], timeout=30)
    assert next(ends).value == "fine done"
    fanout.stopping.set()
    with pytest.raises(Cancelled):
        next(ends)
    assert fanout.slots._taken == 0


def test_no_more_jobs_are_taken_than_there_are_places(tmp_path: Path) -> None:
    taken = 0

    def jobs() -> Iterator[tuple[str, str]]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield ("fine", str(tmp_path / str(number)))

    fanout.slots.limit_to(3)
    try:
        done = 0
        for _ in fan_out(work, jobs(), timeout=30):
            done += 1
            assert taken - done <= 4  # three in flight and one in hand
        assert done == 50
    finally:
        fanout.slots.limit_to(0)


def test_a_crash_stays_alone_also_after_it_waited_for_its_hosts_turn(tmp_path: Path) -> None:
    end = run(tmp_path, "crash, then wait")["crash, then wait"]
    assert end.error is not None
    assert (end.error.kind, end.attempts) == ("crashed", 2)
    assert (tmp_path / "crash,-then-wait").stat().st_size == 3  # a crash, the host's turn, a crash


def test_a_full_disk_is_not_the_clips_fault_and_ends_the_stage_saying_where(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"^No space left on device in .*: free some, or set TMPDIR"):
        run(tmp_path, "full")
    assert (tmp_path / "full").stat().st_size == 3


def test_who_waits_in_rays_queue_is_not_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "GRACE_SECONDS", 0.1)
    jobs = [("half a second", str(tmp_path / str(number))) for number in range(6)]
    fanout.slots.limit_to(len(jobs))
    try:
        ends = list(fan_out(work, jobs, timeout=1.0, cpus=num_cpus()))  # one after the other: three seconds
    finally:
        fanout.slots.limit_to(0)
    assert [end.error for end in ends] == [None] * len(jobs)


def test_a_worker_that_cannot_be_interrupted_ends_with_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "GRACE_SECONDS", 1.0)
    jobs = [(what, str(tmp_path / what)) for what in ("deaf", "stuck in C")]
    ends = {end.job[0]: end.error for end in fan_out(work, jobs, timeout=3.0)}
    assert "took longer than 3 s and did not end by itself" in str(ends["deaf"])
    assert ends["stuck in C"] is not None  # it could tell nobody that it had begun


def test_who_is_tried_alone_has_a_machine_of_its_own(tmp_path: Path) -> None:
    end = run(tmp_path, "how many CPUs")["how many CPUs"]
    assert end.value == str(float(smallest_node_cpus()))


def test_who_gets_no_machine_of_its_own_is_tried_beside_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if num_cpus() < 2:
        pytest.skip("needs two CPUs: one is somebody else's")
    monkeypatch.setattr(fanout, "EMPTY_MACHINE_SECONDS", 0.5)

    class Neighbour:
        pass

    neighbour = ray.remote(Neighbour).options(num_cpus=1).remote()
    ray.get(neighbour.__ray_ready__.remote())
    try:
        assert run(tmp_path, "how many CPUs")["how many CPUs"].value == "1.0"
    finally:
        ray.kill(neighbour)
