"""A bounded number of shards in work at a time, each going through its stages by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from queue import SimpleQueue
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture, wait

from tasks import fanout

Chain = list[PrefectFuture[Any]]


def in_window(stages: Sequence[Task[..., Any]], run: object, shards: Iterable[int], size: int) -> None:
    """Submit each shard's stages as a chain of task runs, ``size`` shards at a time, and wait for all.

    Stages of different shards overlap, while neither threads nor disk run away: a shard begins when the oldest one in
    work has ended.

    Raises:
        Exception: the first that a stage raised, of whichever shard; no further one is begun then, the others are
            stopped, and waited for too, before anybody ends what they use.
    """
    chains: deque[Chain] = deque()
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    over: set[PrefectFuture[Any]] = set()  # what came out of the queue, of the shards in work
    try:
        for shard in shards:
            if len(chains) >= size:
                _finish_oldest(chains, ended, over)
            chain: Chain = []
            chains.append(chain)
            for stage in stages:
                chain.append(stage.submit(run, shard, wait_for=chain[-1:]))
                chain[-1].add_done_callback(ended.put)
        while chains:
            _finish_oldest(chains, ended, over)
    except BaseException:
        fanout.stopping.set()
        for chain in chains:
            wait(chain)
        raise


def _finish_oldest(chains: deque[Chain], ended: SimpleQueue[PrefectFuture[Any]], over: set[PrefectFuture[Any]]) -> None:
    """Wait until the oldest shard is through, or a stage of any shard fails."""
    while not over.issuperset(chains[0]):
        future = ended.get()
        future.result()
        over.add(future)
    over.difference_update(chains.popleft())
