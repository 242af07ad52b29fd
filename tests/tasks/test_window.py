"""The window over the shards: a failure is seen at once, in whichever shard it happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.testing.utilities import prefect_test_harness

from tasks import fanout
from tasks.window import in_window

pytestmark = pytest.mark.integration
PATIENCE = 60.0  # seconds; what should happen at once happens before


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(autouse=True)
def not_stopping() -> Iterator[None]:
    fanout.stopping.clear()
    yield
    fanout.stopping.clear()


class Run:
    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.open: set[int] = set()
        self.most = 0
        self.done: list[tuple[str, int]] = []


@task(cache_policy=NO_CACHE)
def first(run: Run, shard: int) -> None:
    run.open.add(shard)
    run.most = max(run.most, len(run.open))
    run.done.append(("first", shard))


@task(cache_policy=NO_CACHE)
def second(run: Run, shard: int) -> None:
    run.done.append(("second", shard))
    run.open.discard(shard)


@task(cache_policy=NO_CACHE)
def wait_or_fail(run: Run, shard: int) -> None:
    """The oldest shard goes on for hours, as one whose host has paused does; the next one fails."""
    if shard == 0:
        assert fanout.stopping.wait(PATIENCE), "nobody was told to stop"
        run.stopped.set()
    if shard == 1:
        raise ValueError("the second shard failed")


@flow
def through(run: Run, stages: list[str], shards: int, size: int) -> None:
    known = {"first": first, "second": second, "wait_or_fail": wait_or_fail}
    in_window([known[name] for name in stages], run, range(shards), size)


def test_a_failure_behind_a_shard_that_lasts_stops_it_and_is_raised() -> None:
    run = Run()
    with pytest.raises(ValueError, match="the second shard failed"):
        through(run, ["wait_or_fail", "first"], 9, 3)
    assert run.stopped.is_set()
    assert not [shard for _, shard in run.done if shard > 2]  # none was begun after it


def test_every_shard_goes_through_its_stages_in_order_and_no_more_are_open_than_allowed() -> None:
    run = Run()
    through(run, ["first", "second"], 7, 2)
    assert sorted(run.done) == sorted((stage, shard) for shard in range(7) for stage in ("first", "second"))
    for shard in range(7):
        assert run.done.index(("first", shard)) < run.done.index(("second", shard))
    assert run.most <= 2
