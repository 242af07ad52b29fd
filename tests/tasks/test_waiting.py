"""A training that finds the cluster's CPUs taken says so, until they are free. The cluster is real."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import ray
from prefect.logging import disable_run_logger

from tasks.cluster import cluster, num_cpus
from tasks.progress import Stage, board, describe
from tasks.waiting import Needs, told_while_waiting

pytestmark = pytest.mark.integration
STAGE = "train x3d_xs"


@pytest.fixture(autouse=True)
def on_a_cluster() -> Iterator[None]:
    board.reset()
    with cluster(), disable_run_logger():
        yield
    board.reset()


def stage() -> Stage:
    return next((one for one in board.stages() if one.name == STAGE), Stage(STAGE))


class Holder:
    """Holds the CPUs that it was given."""

    def ready(self) -> None:
        """It has them."""


def test_what_is_waited_for_is_said_and_no_more_once_it_is_there() -> None:
    everything = num_cpus()
    assert Needs(everything).lacking() == ""
    assert Needs(1, gpus=2).lacking() == "waits for 2 GPUs; 0 of 0 are free"
    holder = ray.remote(Holder).options(num_cpus=everything).remote()
    ray.get(holder.ready.remote())
    board.put(STAGE, 0, None, "starting Ray Train")
    with told_while_waiting([STAGE], Needs(1)):
        while not stage().waiting:
            time.sleep(0.05)
        assert describe(stage()) == f"waits for 1 CPU; 0 of {everything} are free"
        ray.kill(holder)
        board.advance(STAGE)  # work has begun
        while stage().waits_until > time.time():
            time.sleep(0.05)
        assert describe(stage()) == "starting Ray Train"


def test_where_everything_is_free_nothing_is_said() -> None:
    with told_while_waiting([STAGE], Needs(1)):
        assert board.stages() == []
