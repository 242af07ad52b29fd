"""A bounded number of shards in work at a time, each going through its stages by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture, wait

from tasks import fanout


def in_window(stages: Sequence[Task[..., Any]], run: object, shards: Iterable[int], size: int) -> None:
    """Submit each shard's stages as a chain of task runs, ``size`` shards at a time, and wait for all.

    Stages of different shards overlap, while neither threads nor disk run away: a shard begins when one has ended.

    Raises:
        Exception: the first that a stage raised; no further shard is begun then.
    """
    chains: deque[list[PrefectFuture[Any]]] = deque()
    for shard in shards:
        if len(chains) >= size:
            _finish(chains.popleft(), chains)
        chain: list[PrefectFuture[Any]] = []
        for stage in stages:
            chain.append(stage.submit(run, shard, wait_for=chain[-1:]))
        chains.append(chain)
    while chains:
        _finish(chains.popleft(), chains)


def _finish(chain: list[PrefectFuture[Any]], others: Iterable[list[PrefectFuture[Any]]]) -> None:
    """Wait for a shard; where it failed, stop the others and wait for them too, before anybody ends what they use."""
    try:
        for future in chain:
            future.result()
    except BaseException:
        fanout.stopping.set()
        for other in (chain, *others):
            wait(other)
        raise
