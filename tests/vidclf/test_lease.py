"""One writer per dataset, and a dead one does not stand in the way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vidclf import lease
from vidclf.lease import LEASE_PATH, LeaseHeld, LeaseLost, hold
from vidclf.storage import Store


def test_a_second_run_is_told_who_works_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with (
        hold(store, "first"),
        pytest.raises(LeaseHeld, match=r"run first on .* \(process \d+\) works on"),
        hold(store, "second"),
    ):
        pass
    with hold(store, "third"):
        pass


def test_who_has_patience_is_told_once_for_whom_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)
    told: list[LeaseHeld] = []
    release = threading.Event()

    def on_wait(held: LeaseHeld) -> None:
        told.append(held)
        release.set()

    def work() -> None:
        with hold(Store(tmp_path), "first"):
            holds.set()
            release.wait()

    holds = threading.Event()
    first = threading.Thread(target=work)
    first.start()
    holds.wait()
    with pytest.raises(LeaseHeld), hold(Store(tmp_path), "second", patience=0.05):
        pass
    with hold(Store(tmp_path), "third", patience=60, on_wait=on_wait) as held:
        held.check()
    first.join()
    (who,) = told
    assert "run first on " in str(who)


def test_of_many_at_once_one_gets_it_and_the_others_name_it(tmp_path: Path) -> None:
    held: list[str] = []
    said: list[str] = []
    start, end = threading.Barrier(8), threading.Barrier(8)

    def work(name: str) -> None:
        store = Store(tmp_path)
        start.wait()
        try:
            with hold(store, name):
                held.append(name)
                end.wait()
        except LeaseHeld as error:
            said.append(str(error))
            end.wait()

    threads = [threading.Thread(target=work, args=(f"run-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = held
    assert len(said) == 7
    assert all(f"run {winner} on " in sentence for sentence in said)


def test_a_holder_that_was_killed_is_replaced_at_once(tmp_path: Path) -> None:
    code = "import sys; from vidclf.lease import hold; from vidclf.storage import Store\nwith hold(Store(sys.argv[1]), 'dead'):\n print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    with hold(Store(tmp_path), "next") as held:
        held.check()


def test_a_holder_on_another_machine_counts_until_its_lease_expires(tmp_path: Path) -> None:
    store = Store(tmp_path)
    holder = {
        "run_id": "far",
        "host": "far",
        "boot_id": "far:1",
        "pid": 1,
        "started": "1",
        "expires_at": time.time() + 30,
    }
    store.write_bytes(LEASE_PATH, json.dumps(holder).encode())
    with pytest.raises(LeaseHeld), hold(store, "here"):
        pass
    store.write_bytes(LEASE_PATH, json.dumps({**holder, "expires_at": time.time() - 1}).encode())
    with hold(store, "here"):
        pass


def test_a_run_that_lost_its_lease_may_not_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    store = Store(tmp_path)
    with hold(store, "first") as held:
        held.check()
        store.write_bytes(LEASE_PATH, json.dumps({"run_id": "thief"}).encode())
        deadline = time.monotonic() + 10
        with pytest.raises(LeaseLost, match="another run took it over"):  # noqa: PT012
            while time.monotonic() < deadline:
                held.check()
    assert json.loads(store.read_bytes(LEASE_PATH))["run_id"] == "thief"


def test_who_was_taken_over_leaves_the_lease_of_the_other_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with hold(store, "first"):  # and it hears of nothing until its end
        holder = {**json.loads(store.read_bytes(LEASE_PATH)), "expires_at": time.time() - 1}
        store.write_bytes(LEASE_PATH, json.dumps(holder).encode())
        second = hold(store, "second")
        second.__enter__()
    assert json.loads(store.read_bytes(LEASE_PATH))["run_id"] == "second"
    second.__exit__(None, None, None)
    assert not store.exists(LEASE_PATH)
