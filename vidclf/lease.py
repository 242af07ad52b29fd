"""One writer per dataset: a lease on the store, renewed while the holder lives, taken over when it is dead."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vidclf.errors import ConfigError, StorageError
from vidclf.processes import start_ticks
from vidclf.storage import Store

LEASE_PATH = "lease.json"
TTL_SECONDS = 60.0
RENEW_SECONDS = 15.0
POLL_SECONDS = 1.0
RACES = 3


class LeaseHeld(ConfigError):
    """Somebody else works on the dataset."""


class LeaseLost(StorageError):
    """The lease was taken over, so this run must not publish."""


class Lease:
    """A held lease. ``check`` raises once it is no longer ours."""

    def __init__(self, store: Store, run_id: str):
        self.store = store
        self.run_id = run_id
        self._version = ""
        self._renewed_at = time.monotonic()
        self._lost: str | None = None
        self._released = threading.Event()

    def check(self) -> None:
        """Call before anything that only the holder may do.

        Raises:
            LeaseLost: it was taken over, or could not be renewed in time.
        """
        if self._lost is None and time.monotonic() - self._renewed_at > TTL_SECONDS:
            self._lost = "it could not be renewed in time"
        if self._lost:
            raise LeaseLost(f"the lease on {self.store.uri} was lost: {self._lost}; run again to go on from here")

    def _acquire(self) -> None:
        for _ in range(RACES):  # who loses one reads who won it
            found = self.store.read_versioned(LEASE_PATH)
            if found is not None:
                self._require_dead(json.loads(found[0]))
            if self._write(found[1] if found else None):
                return
        raise LeaseHeld(f"other runs took the dataset {self.store.uri} in this moment")

    def _require_dead(self, holder: dict[str, object]) -> None:
        if not _is_dead(holder):
            left = max(0.0, float(str(holder["expires_at"])) - time.time())
            raise LeaseHeld(
                f"run {holder['run_id']} on {holder['host']} (process {holder['pid']}) works on {self.store.uri}; "
                f"wait for it, or until {left:.0f} s after it died"
            )

    def _renew_until_released(self) -> None:
        while not self._released.wait(RENEW_SECONDS):
            try:
                if not self._renew():
                    self._lost = "another run took it over"
                    return
            except StorageError:
                continue  # the store may come back before the lease expires; check() knows when it is too late

    def _renew(self) -> bool:
        """Whether it is still ours; then for as long again. A write whose answer was lost was ours all the same."""
        for _ in range(RACES):
            if self._write(self._version):
                return True
            found = self.store.read_versioned(LEASE_PATH)
            if found is None or json.loads(found[0])["run_id"] != self.run_id:
                return False
            self._version = found[1]  # of a write of ours that was thought to have failed
        return False

    def _release(self, renewer: threading.Thread) -> None:
        self._released.set()
        renewer.join()
        if self._renew():  # a fresh one is taken over by nobody in the moment of its deletion
            self.store.delete(LEASE_PATH)

    def _write(self, version: str | None) -> bool:
        """Write the lease over ``version``; whether it is there then, which the answer alone does not tell.

        A client repeats a write whose answer was lost, and is refused because of its own first one.
        """
        began, content = time.monotonic(), self._content()
        self.store.replace(LEASE_PATH, content, version)
        found = self.store.read_versioned(LEASE_PATH)
        if found is None or found[0] != content:
            return False
        self._version, self._renewed_at = found[1], began
        return True

    def _content(self) -> bytes:
        holder = {
            "run_id": self.run_id,
            "host": socket.gethostname(),
            "boot_id": _boot_id(),
            "pid": os.getpid(),
            "started": start_ticks(os.getpid()),
            "expires_at": time.time() + TTL_SECONDS,
        }
        return json.dumps(holder).encode()


@contextlib.contextmanager
def hold(
    store: Store, run_id: str, patience: float = 0.0, on_wait: Callable[[LeaseHeld], None] = lambda held: None
) -> Iterator[Lease]:
    """Hold the dataset's lease for the length of a ``with`` block.

    Args:
        patience: seconds to wait for a living run that has it.
        on_wait: told, when the waiting begins, who has it.

    Raises:
        LeaseHeld: a living run has it; the message says which.
    """
    lease = Lease(store, run_id)
    _acquire_within(lease, patience, on_wait)
    renewer = threading.Thread(target=lease._renew_until_released, name="lease", daemon=True)
    renewer.start()
    try:
        yield lease
    finally:
        lease._release(renewer)


def _acquire_within(lease: Lease, patience: float, on_wait: Callable[[LeaseHeld], None]) -> None:
    until, waits = time.monotonic() + patience, False
    while True:
        try:
            return lease._acquire()
        except LeaseHeld as held:
            if time.monotonic() >= until:
                raise
            if not waits:
                on_wait(held)
            waits = True
        time.sleep(min(POLL_SECONDS, max(0.0, until - time.monotonic())))


def _is_dead(holder: dict[str, object]) -> bool:
    """Expired, or a process of this boot of this machine that is no longer there."""
    if float(str(holder["expires_at"])) < time.time():
        return True
    if holder["boot_id"] != _boot_id() or not holder["boot_id"]:
        return False
    return start_ticks(int(str(holder["pid"]))) != holder["started"]


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")  # Linux; elsewhere only the expiry counts
    boot = path.read_text().strip() if path.exists() else ""
    if not boot:
        return ""
    return (
        f"{socket.gethostname()}:{boot}:{os.readlink('/proc/self/ns/pid')}"  # containers count processes by themselves
    )
