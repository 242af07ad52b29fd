"""One ingest run: what all its tasks share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property

from tasks import fanout
from tasks.budget import Budget
from tasks.cluster import cluster
from tasks.gate import RayGate, open_gate
from tasks.progress import board
from vidclf.config import IngestConfig
from vidclf.creation import open_dataset
from vidclf.lease import Lease, hold
from vidclf.ledger import Entry
from vidclf.maintenance.files import files_in
from vidclf.plan import Plan
from vidclf.recipes import Recipes
from vidclf.runs import new_run_id
from vidclf.scratch import sweep
from vidclf.storage import Store


class IngestRun:
    """What the tasks of one run share: configuration, store, recipes, lease, plan. Not a value; passed by reference."""

    def __init__(self, config: IngestConfig, store: Store, run_id: str, lease: Lease, gate: RayGate):
        self.config = config
        self.store = store
        self.run_id = run_id
        self.lease = lease
        self.gate = gate
        self.plan = Plan()
        self.recipes = Recipes.of(config)
        self.unread: dict[str, str] = {}  # split → why not all of its archives could be read
        self.shares: dict[str, int] = {}  # clip_id → how many augmented variants it is to have
        budget = config.execution.disk_budget_gb
        self.budget = Budget(budget * 1e9 if budget is not None else None)

    @cached_property
    def sources(self) -> frozenset[str]:
        """Paths of the videos that lay in the store when this was first asked; a shard's go with that shard only."""
        return frozenset(file.path for file in files_in(self.store, "sources"))

    def is_settled(self, entry: Entry | None) -> bool:
        """Whether this run leaves a clip alone that has this entry."""
        if entry is None or not entry.settled:
            return False
        return entry.run_id == self.run_id or entry.error_kind not in self.config.execution.retry


@contextlib.contextmanager
def ingest_run(config: IngestConfig) -> Iterator[IngestRun]:
    """Hold the dataset's lease and a Ray cluster for the length of a run; on an error, stop all work in flight.

    Raises:
        ConfigError: the store cannot be written.
        LeaseHeld: another run works on the dataset.
    """
    run_id = new_run_id()
    store = open_dataset(config)
    fanout.stopping.clear()
    board.reset()
    with contextlib.ExitStack() as stack:
        lease = stack.enter_context(hold(store, run_id))
        stack.callback(sweep)  # what killed workers left, where none begins another job
        stack.enter_context(cluster())
        fanout.slots.limit_to(config.execution.max_in_flight or 0)
        try:
            yield IngestRun(config, store, run_id, lease, open_gate())
        except BaseException:
            fanout.stopping.set()
            raise
