"""Decisions on the store. Each is written whole and once, before any alias moves; another file says that it is carried out.

    {store}/retrainings/{model_name}/
      lease.json                     who retrains this model
      aliases/lease.json             who moves its aliases, for the moment that takes
      {decision_id}/decision.json    what was decided
      {decision_id}/done.json        what became of it: aliases, MLflow and Prefect have it

A decision without ``done.json`` is what a killed run left: the next one carries it out before anything else.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator

from vidclf.config import parse
from vidclf.lease import TTL_SECONDS, Lease, hold
from vidclf.retraining.decision import Decision
from vidclf.retraining.outcome import Outcome
from vidclf.storage import Store

DECISION, DONE = "decision.json", "done.json"


def folder(store: str, model_name: str) -> Store:
    """Everything about the retrainings of a model."""
    return Store(store).at(f"retrainings/{model_name}")


def find(records: Store, decision_id: str) -> Decision | None:
    """The decision of this id, if it was made."""
    found = records.read_versioned(f"{decision_id}/{DECISION}")
    return _parsed(records, decision_id, found[0]) if found else None


def write(records: Store, decision: Decision) -> Decision:
    """Write a decision, unless it was made before: then that one counts, and is returned."""
    path = f"{decision.decision_id}/{DECISION}"
    content = json.dumps(decision.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    records.create(path, content.encode())
    return _parsed(records, decision.decision_id, records.read_bytes(path))


def pending(records: Store) -> list[Decision]:
    """Decisions that were made and not carried out to the end, the oldest first."""
    written = {path.rsplit("/", 2)[-2]: path for path in records.files_below("", DECISION)}
    done = {path.rsplit("/", 2)[-2] for path in records.files_below("", DONE)}
    left = [_parsed(records, name, records.read_bytes(path)) for name, path in written.items() if name not in done]
    return sorted(left, key=lambda decision: decision.decided_at)


def outcome_of(records: Store, decision_id: str) -> Outcome | None:
    """What became of a decision; None: it is yet to be carried out."""
    found = records.read_versioned(f"{decision_id}/{DONE}")
    return Outcome(json.loads(found[0])["outcome"]) if found else None


def close(records: Store, decision_id: str, outcome: Outcome) -> None:
    """Say what became of a decision."""
    records.write_json(f"{decision_id}/{DONE}", {"outcome": outcome})


def reopen(records: Store, decision_id: str) -> None:
    """Have a decision that came too late carried out after all: it fits again."""
    records.delete(f"{decision_id}/{DONE}")


@contextlib.contextmanager
def moving_aliases(records: Store) -> Iterator[Lease]:
    """Keep others from moving the model's aliases, for which MLflow has no compare-and-swap; waits for them.

    Raises:
        LeaseHeld: somebody does not come to an end.
    """
    with hold(records.at("aliases"), f"aliases-{secrets.token_hex(3)}", patience=2 * TTL_SECONDS) as lease:
        yield lease


def _parsed(records: Store, decision_id: str, content: bytes) -> Decision:
    return parse(Decision, json.loads(content), f"{records.uri}/{decision_id}/{DECISION}")
