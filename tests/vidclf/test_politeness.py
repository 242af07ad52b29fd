"""The gate: nobody asks a host more often than allowed, and everybody waits when it has enough."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest

from vidclf.errors import Blocked, Postponed
from vidclf.politeness import MAX_TRIPS, SILENCES, Gate

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(clock, clock.sleep)


def ask(gate: Gate, clock: Clock, who: str, rate: float | None) -> float:
    """Ask until the turn comes, as the fan-out does; the time at which it came."""
    while True:
        try:
            gate.turn("host", who, rate)
            return clock.now
        except Postponed as postponed:
            clock.now = max(postponed.until, clock.now + 0.001)


def test_turns_are_as_far_apart_as_the_rate_says(gate: Gate, clock: Clock) -> None:
    times = [ask(gate, clock, f"clip {number}", rate=600) for number in range(5)]
    assert [later - sooner for sooner, later in pairwise(times)] == [6.0] * 4


def test_those_who_come_late_for_their_turn_do_not_make_it_up(gate: Gate, clock: Clock) -> None:
    gate.turn("host", "a", 600)
    for who in ("b", "c"):
        with pytest.raises(Postponed):
            gate.turn("host", who, 600)
    clock.now += 100
    gate.turn("host", "b", 600)
    with pytest.raises(Postponed) as postponed:
        gate.turn("host", "c", 600)
    assert postponed.value.until == clock.now + 6


def test_without_a_rate_nobody_waits(gate: Gate, clock: Clock) -> None:
    for number in range(100):
        gate.turn("host", str(number), None)
    assert clock.now == 1000


def test_when_a_host_blocks_everybody_waits_as_long_as_it_says(gate: Gate, clock: Clock) -> None:
    gate.blocked("host", "HTTP Error 429", retry_after=120, pause=1)
    with pytest.raises(Postponed) as postponed:
        gate.turn("host", "anybody", None)
    assert (postponed.value.until, postponed.value.why) == (1120, "HTTP Error 429")
    gate.turn("other host", "anybody", None)
    (closed,) = gate.closed()
    assert (closed.host, closed.until, closed.given_up) == ("host", 1120, False)


def test_after_a_pause_one_tries_alone_and_its_answer_opens_the_host(gate: Gate, clock: Clock) -> None:
    gate.blocked("host", "429", retry_after=None, pause=60)
    clock.now += 60
    gate.turn("host", "first", None)
    with pytest.raises(Postponed):
        gate.turn("host", "second", None)
    gate.answered("host", "first")
    gate.turn("host", "second", None)
    gate.turn("host", "third", None)


def test_the_pauses_double_and_what_was_asked_before_one_counts_once(gate: Gate, clock: Clock) -> None:
    pauses = []
    for _ in range(4):
        gate.blocked("host", "429", None, pause=60)
        gate.blocked("host", "429", None, pause=60)  # another worker's answer to what it had asked before
        pauses.append(gate.closed()[0].until - clock.now)
        clock.now = gate.closed()[0].until
    assert pauses == [60, 120, 240, 480]


def test_a_host_that_goes_on_blocking_is_given_up_until_the_next_run(gate: Gate, clock: Clock) -> None:
    for _ in range(MAX_TRIPS + 1):
        gate.blocked("host", "a bot check", None, pause=1)
        clock.now += HOUR
    with pytest.raises(Blocked, match="host was given up for this run after 8 pauses: a bot check"):
        gate.turn("host", "who", None)
    assert gate.closed()[0].given_up
    gate.forgive()
    gate.turn("host", "who", None)


def test_a_silent_host_is_left_alone_after_a_while_and_one_answer_resets_the_count(gate: Gate) -> None:
    for _ in range(SILENCES - 1):
        gate.silent("host", "refused", pause=60)
    gate.answered("host", "first")
    for _ in range(SILENCES - 1):
        gate.silent("host", "refused", pause=60)
    gate.turn("host", "who", None)
    gate.silent("host", "refused", pause=60)
    with pytest.raises(Postponed, match="refused"):
        gate.turn("host", "who", None)


def test_a_postponement_travels_between_processes() -> None:
    sent = Postponed("host", 12.0, "why", then=("job", 1))
    received = pickle.loads(pickle.dumps(sent))
    assert (received.host, received.until, received.why, received.then) == ("host", 12.0, "why", ("job", 1))


def test_answers_to_what_was_asked_before_a_block_open_nothing(gate: Gate, clock: Clock) -> None:
    pauses = []
    for _ in range(4):
        gate.turn("host", "slow", None)  # before the block; its answer comes late
        gate.blocked("host", "429", None, pause=60)
        gate.answered("host", "slow")
        pauses.append(gate.closed()[0].until - clock.now)
        clock.now = gate.closed()[0].until
        gate.answered("host", "slow too")
        gate.turn("host", "probe", None)
        gate.answered("host", "slow too")
        with pytest.raises(Postponed):
            gate.turn("host", "another", None)
        clock.now += HOUR
    assert pauses == [60, 120, 240, 480]


def test_a_new_run_does_not_wait_for_the_turns_of_a_killed_one(gate: Gate, clock: Clock) -> None:
    gate.turn("host", "first", 300)
    for number in range(300):
        with pytest.raises(Postponed):
            gate.turn("host", f"killed {number}", 300)
    clock.now += 1
    gate.forgive()
    times = [ask(gate, clock, f"new {number}", 300) for number in range(3)]
    assert times == [1012, 1024, 1036]  # the rate holds over both


def test_a_run_that_goes_on_beside_a_new_one_still_gets_its_turns(gate: Gate, clock: Clock) -> None:
    gate.turn("host", "first", 300)
    with pytest.raises(Postponed):
        gate.turn("host", "old", 300)
    gate.forgive()
    assert ask(gate, clock, "new", 300) == 1012
    assert ask(gate, clock, "old", 300) == 1024
