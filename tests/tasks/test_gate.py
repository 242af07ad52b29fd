"""The hosts' gate may die with its machine: that costs a short wait, no clip and no video. Ray is real."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from tasks.cluster import cluster
from tasks.fanout import fan_out
from tasks.gate import RayGate, open_gate

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    with cluster():
        yield


def ask_and_tell(gate: RayGate) -> str:
    gate.turn("host", "who", None)
    ray.kill(gate._actor, no_restart=False)  # while the video is on its way
    gate.answered("host", "who")
    ray.kill(gate._actor, no_restart=False)
    gate.silent("host", "refused", 1.0)
    return "the video"


@pytest.mark.parametrize("restarts", [True, False])
def test_a_gate_that_dies_is_asked_again(restarts: bool) -> None:
    gate = open_gate()
    for number in range(3):
        ray.kill(gate._actor, no_restart=not restarts)
        gate.turn("host", f"clip {number}", None)
        ray.kill(gate._actor, no_restart=not restarts)
        gate.answered("host", f"clip {number}")
        gate.silent("host", "refused", 1.0)
        gate.blocked(f"busy {number}", "HTTP 429", 60.0, 1.0)


def test_a_video_that_was_fetched_while_the_gate_died_is_not_lost() -> None:
    (end,) = fan_out(ask_and_tell, [open_gate()], timeout=60)
    assert (end.value, end.error, end.attempts) == ("the video", None, 1)
