"""Takedown: clips and whole sources that were taken out of a dataset on request.

Their tombstones hold for every recipe and every run; a source's also for segments that no list has named yet.
"""

from __future__ import annotations

from vidclf.ledger import scan
from vidclf.storage import Store

STAGE = "takedown"
SOURCES = "takedown_of_sources"  # in the ledger as a stage of its own, since its keys are source_ids
MESSAGE = "taken out of the dataset on request"  # the reason is in the tombstone, not in manifests that travel

BEGUN = "removed"  # outcome of a tombstone; from then on no run makes the clip
DONE = "erased"  # outcome of the entry after it: nothing is left that shows the clip


def removed_ids(store: Store) -> list[str]:
    """clip_ids that were taken out."""
    return list(scan(store, STAGE, None, ("outcome",))["key"].to_pylist())


def removed_sources(store: Store) -> list[str]:
    """source_ids that were taken out, with every segment of them."""
    return list(scan(store, SOURCES, None, ("outcome",))["key"].to_pylist())


def unfinished(store: Store) -> list[str]:
    """clip_ids whose takedown was cut short: something may still show them."""
    stones = scan(store, STAGE, None, ("outcome",)).select(["key", "outcome"]).to_pylist()
    return sorted(stone["key"] for stone in stones if stone["outcome"] != DONE)
