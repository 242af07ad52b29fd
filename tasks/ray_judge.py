"""Asking models over Ray Data. Imports no Prefect.

A pool of actors holds the models; a Ray Data block is a block of clips, whose part the actor writes itself, so what comes
back is a count. By itself Ray Data would give a block that kills its actor to the next one, for ever. Here retries are
off: an actor that dies costs its block, which is not lost but goes again in halves, down to a clip alone. A clip under
which an actor dies alone, too, becomes a row that says ``crashed``. So a block of n clips is tried log2(n) + 2 times at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext

from tasks.cluster import num_cpus, num_gpus
from tasks.fanout import Cancelled, stopping
from vidclf.config import JudgingConfig
from vidclf.errors import ConfigError, Crashed, StorageError, VidclfError
from vidclf.evaluation.judge import Block, Jury, Question, finish, give_up, open_blocks
from vidclf.memory import ENVIRONMENT
from vidclf.processes import die_with_parent, last_resort

Told = Callable[[Question, int, int], None]  # whose, clips settled, of them failed

#: Nothing is tried twice by itself. An actor starts anew after a death, of which there is one for each block at most, since
#: each is tried once; Ray Data stalls with actors that may not start again.
NOT_AGAIN = {"max_task_retries": 0, "max_restarts": -1}
FIRST_ALONE = 8  # clips that are tried alone before anything was answered; if all of them crash, it is not the clips
_ERRORS: dict[str, type[VidclfError]] = {error.kind: error for error in (ConfigError, StorageError)}


@dataclass(frozen=True)
class Pool:
    """Actors, and what each has."""

    size: int
    cpus: float
    gpus: float

    @classmethod
    def of(cls, config: JudgingConfig) -> Pool:
        """One actor per core, or ``actors_per_gpu`` on every GPU, unless the configuration says how many.

        Raises:
            ConfigError: it asks for more than the cluster has.
        """
        if num_gpus():
            size = config.num_actors or num_gpus() * config.actors_per_gpu
            share = min(1.0, num_gpus() / size)
            return cls(size, max(0.01, min(1.0, num_cpus() / size)), int(100 * share) / 100)
        size = config.num_actors or num_cpus()
        if size > num_cpus():
            raise ConfigError(f"num_actors is {size}, one CPU each, and the cluster has {num_cpus()}")
        return cls(size, 1.0, 0.0)


def ask(questions: Sequence[Question], config: JudgingConfig, on_block: Told) -> None:
    """Answer every question; what was answered before is not asked again. The answers lie beside the checkpoints.

    Raises:
        ConfigError: a checkpoint, snapshot or split is not there, or the cluster is too small.
        StorageError: the store fails.
        Cancelled: the run was stopped.
        VidclfError: processes die on whatever they are asked: it is not the clips.
    """
    blocks = [block for question in questions for block in open_blocks(question, config.block_size)]
    pool, settled = Pool.of(config), 0

    def count(question: Question, clips: int, failed: int) -> None:
        nonlocal settled
        settled += clips
        on_block(question, clips, failed)

    while blocks:
        blocks = [half for block in _round(blocks, pool, config, count) for half in _again(block)]
        alone = [block for block in blocks if len(block.indices) == 1]
        blocks = [block for block in blocks if len(block.indices) > 1]
        while alone:
            some, alone = (alone, []) if settled else (alone[:FIRST_ALONE], alone[FIRST_ALONE:])
            dead = _round(some, Pool(1, pool.cpus, pool.gpus), config, count)
            if len(dead) == FIRST_ALONE and not settled:
                raise VidclfError(f"whatever {dead[0].question.name} is asked, the process that asks it dies")
            for block in dead:
                _settle_as_crashed(block, config, on_block)
    for question in questions:
        finish(question)


def _again(block: Block) -> Sequence[Block]:
    return block.halves() if len(block.indices) > 1 else (block,)


def _settle_as_crashed(block: Block, config: JudgingConfig, on_block: Told) -> None:
    limit = f"{config.clip_timeout:g} s"
    give_up(block, Crashed.kind, f"the process that worked on it died whenever it did, or took longer than {limit}")
    on_block(block.question, 1, 1)


def _round(blocks: Sequence[Block], pool: Pool, config: JudgingConfig, on_block: Told) -> list[Block]:
    """Ask about every block once; those under which an actor died."""
    if not blocks:
        return []
    left = dict(enumerate(blocks))
    rows = ray.remote(_rows).options(num_cpus=0, max_retries=0, num_returns="streaming").remote(blocks, pool, config)
    try:
        for reference in rows:
            row = ray.get(reference)
            if stopping.is_set():
                raise Cancelled("the run was stopped")
            if row["error"]:
                raise _ERRORS.get(row["kind"], VidclfError)(row["error"])
            block = left.pop(row["number"])
            on_block(block.question, row["clips"], row["failed"])
    except BaseException:
        ray.cancel(rows, force=True)
        raise
    return list(left.values())


def _rows(blocks: Sequence[Block], pool: Pool, config: JudgingConfig) -> Iterator[dict[str, Any]]:
    """What came of each block, but of those under which an actor died. In a worker, so that what Ray Data says of dead
    actors, here no news, is in that worker's log."""
    die_with_parent()  # Ray's own way takes seconds, in which the work of a killed run would go on
    context = DataContext.get_current()
    context.max_errored_blocks = -1
    context.enable_progress_bars = False
    rows = ray.data.from_items([{"number": number} for number in range(len(blocks))], override_num_blocks=len(blocks))
    answers = rows.map_batches(
        Juror,
        fn_constructor_args=(tuple(blocks), config),
        batch_size=1,
        compute=ActorPoolStrategy(size=min(pool.size, len(blocks)), max_tasks_in_flight_per_actor=1),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
        **({} if pool.gpus else {"runtime_env": {"env_vars": ENVIRONMENT}}),
        **NOT_AGAIN,
    )
    yield from answers.iter_rows()


class Juror:
    """A Ray Data actor: one row in is the number of a block, one row out what came of it."""

    def __init__(self, blocks: tuple[Block, ...], config: JudgingConfig):
        import torch

        die_with_parent()  # Ray's own way takes seconds, in which the work of a killed run would go on
        assigned = ray.get_runtime_context().get_assigned_resources()
        torch.set_num_threads(max(1, int(assigned.get("CPU", 1))))
        memory = None if config.memory_gb is None else int(config.memory_gb * 1e9)
        self._jury = Jury("cuda" if assigned.get("GPU") else "cpu", memory, config.batch_views)
        self._blocks, self._seconds = blocks, config.clip_timeout

    def __call__(self, rows: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        number = int(rows["number"][0])
        block = self._blocks[number]
        clips, failed, kind, error = 0, 0, "", ""
        try:
            with last_resort(self._seconds * len(block.indices)):
                clips, failed = self._jury.settle(block)
        except VidclfError as raised:  # the request's fault, or the store's
            kind, error = raised.kind, str(raised)
        except Exception as raised:  # noqa: BLE001 - raised, it would look to the driver as if this process had died
            kind, error = VidclfError.kind, f"{type(raised).__name__}: {raised}"
        return {"number": [number], "clips": [clips], "failed": [failed], "kind": [kind], "error": [error]}
