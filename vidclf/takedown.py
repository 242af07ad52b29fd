"""Takedown: clips that were taken out of a dataset on request. Their tombstones hold for every recipe and every run."""

from __future__ import annotations

from vidclf.ledger import scan
from vidclf.storage import Store

STAGE = "takedown"
MESSAGE = "taken out of the dataset on request"  # the reason is in the tombstone, not in manifests that travel


def removed_ids(store: Store) -> list[str]:
    """clip_ids that were taken out."""
    return list(scan(store, STAGE, None, ("outcome",))["key"].to_pylist())
