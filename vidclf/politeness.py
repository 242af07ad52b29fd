"""How often a host may be asked, and when it must be left alone: one ``Gate`` for all workers of all runs.

Two bounds per host. The *rate*: every fetch takes a turn, and turns are ``3600 / rate`` seconds apart. The *breaker*:
when a host says that it has enough (429, a sign-in), or does not answer ten times in a row, everybody waits, twice as
long each time; then one clip tries alone. A host that goes on for some hours is given up until the next run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from vidclf.errors import Blocked, Postponed

SHORT_WAIT = 1.0  # seconds that a worker waits by itself; for longer it gives its place back
PROBE_SECONDS = 5.0  # between two tries of a host that has just blocked
SILENCES = 10  # unanswered requests in a row that close a host
MAX_PAUSE = 3600.0  # seconds
MAX_TRIPS = 8  # blocks in a row: three hours of pauses that begin with a minute


@dataclass(frozen=True)
class Closed:
    """A host that is left alone for now, or given up."""

    host: str
    until: float  # seconds since the epoch
    why: str
    given_up: bool


class Gatekeeper(Protocol):
    """What a worker asks before and tells after each fetch."""

    def turn(self, host: str, who: str, rate: float | None) -> None:
        """Return when ``who`` may ask ``host`` now, at ``rate`` per hour.

        Raises:
            Postponed: not yet; ``until`` says when.
            Blocked: the host was given up for this run.
        """

    def answered(self, host: str, who: str) -> None:
        """The host answered ``who``, be it that the video is gone."""

    def blocked(self, host: str, why: str, retry_after: float | None, pause: float) -> None:
        """The host asks us to stop, for ``retry_after`` seconds if it said so."""

    def silent(self, host: str, why: str, pause: float) -> None:
        """The host did not answer."""


@dataclass
class _Host:
    next_turn: float = 0.0
    last_turn: float = 0.0
    tickets: dict[str, float] = field(default_factory=dict)  # who → the turn that was given
    closed_until: float = 0.0
    why: str = ""
    trips: int = 0  # in a row
    silences: int = 0  # in a row
    probe_every: float = PROBE_SECONDS
    probes: set[str] = field(default_factory=set)  # who were let through since it closed


class Gate:
    """The state of all hosts. Safe to use from several threads."""

    def __init__(self, now: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep):
        self._now, self._sleep = now, sleep
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def turn(self, host: str, who: str, rate: float | None) -> None:
        """See ``Gatekeeper.turn``."""
        self._sleep(self.seconds_to_wait(host, who, rate))

    def seconds_to_wait(self, host: str, who: str, rate: float | None) -> float:
        """As ``turn``, but the caller waits; ``SHORT_WAIT`` at most."""
        with self._lock:
            state, now = self._hosts.setdefault(host, _Host()), self._now()
            if state.trips > MAX_TRIPS:
                raise Blocked(f"{host} was given up for this run after {MAX_TRIPS} pauses: {state.why}")
            if state.closed_until > now:
                raise Postponed(host, state.closed_until, state.why)
            distance = max(3600.0 / rate if rate else 0.0, state.probe_every if state.trips else 0.0)
            if not distance:
                return 0.0
            if who not in state.tickets:
                state.tickets[who] = max(now, state.next_turn)
                state.next_turn = state.tickets[who] + distance
            at = max(now, state.tickets[who], state.last_turn + distance)  # others may have come late for theirs
            if at - now > SHORT_WAIT:
                state.tickets[who] = at
                raise Postponed(host, at, state.why if state.trips else "")
            del state.tickets[who]
            state.last_turn = at
            if state.trips:
                state.probes.add(who)
            return at - now

    def answered(self, host: str, who: str) -> None:
        """See ``Gatekeeper.answered``. Answers to what was asked before the host was closed open nothing."""
        with self._lock:
            state = self._hosts.setdefault(host, _Host())
            if state.trips and (who not in state.probes or state.closed_until > self._now()):
                return
            if state.trips:
                state.tickets.clear()  # those of the probation are far apart
                state.next_turn = self._now()
                state.probes.clear()
            state.trips = state.silences = 0

    def blocked(self, host: str, why: str, retry_after: float | None, pause: float) -> None:
        """See ``Gatekeeper.blocked``. Answers to what was asked before the host was closed do not count again."""
        with self._lock:
            self._close(self._hosts.setdefault(host, _Host()), why, retry_after, pause)

    def silent(self, host: str, why: str, pause: float) -> None:
        """See ``Gatekeeper.silent``."""
        with self._lock:
            state = self._hosts.setdefault(host, _Host())
            state.silences += 1
            if state.silences >= SILENCES:
                self._close(state, why, None, pause)

    def closed(self) -> list[Closed]:
        """The hosts that are left alone now."""
        with self._lock:
            return [
                Closed(name, state.closed_until, state.why, state.trips > MAX_TRIPS)
                for name, state in self._hosts.items()
                if state.trips > MAX_TRIPS or state.closed_until > self._now()
            ]

    def forgive(self) -> None:
        """A new run: hosts that were given up are asked again, when their pause is over.

        Turns that were given to the clips of an earlier run are free again, since it may have been killed; the last one
        that was taken still counts. A run that goes on beside loses its places in the queue, and asks for others.
        """
        with self._lock:
            for state in self._hosts.values():
                state.trips, state.silences = min(state.trips, 1), 0
                state.tickets.clear()
                state.next_turn = 0.0

    def _close(self, state: _Host, why: str, retry_after: float | None, pause: float) -> None:
        now = self._now()
        if state.closed_until <= now:
            state.trips += 1
            state.silences = 0
        own = min(MAX_PAUSE, pause * 2 ** (state.trips - 1))
        state.closed_until = max(
            state.closed_until, now + (own if retry_after is None else min(retry_after, MAX_PAUSE))
        )
        state.why, state.next_turn = why, state.closed_until
        state.probe_every = min(PROBE_SECONDS, pause)
        state.tickets.clear()
        state.probes.clear()
