"""Takedown: clips that were taken out of a dataset on request. Their tombstones hold for every recipe and every run."""

from __future__ import annotations

import pyarrow as pa

from vidclf.ledger import scan
from vidclf.storage import Store

STAGE = "takedown"


def removed_ids(store: Store) -> pa.Array:
    """clip_ids that were taken out: string (N,)."""
    return scan(store, STAGE, None, ("outcome",))["key"].combine_chunks()
