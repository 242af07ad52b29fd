"""What the ledger adds to a manifest: who delivered each clip, how often it was tried, how long every stage took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidclf.ledger import DROPPED, scan
from vidclf.snapshot import Snapshot
from vidclf.stages import augment, download, frames, transcode
from vidclf.storage import Store

#: stage → the name of its recipe in a snapshot's ``made_by``; None: entries of any recipe hold, as in the manifest
STAGES = {download.STAGE: None, transcode.STAGE: "clips", frames.STAGE: "frames", augment.STAGE: "augment"}

ACCOUNTS = pa.schema(
    [
        pa.field(
            "source", pa.string()
        ),  # kind of the source that delivered, or of those that were asked; null: none was
        pa.field("attempts", pa.int32()),  # the most that a stage took
        *(pa.field(f"{stage}_seconds", pa.float64()) for stage in STAGES),  # of the last attempt
        pa.field("seconds", pa.float64()),  # of all stages together
    ]
)


@dataclass(frozen=True)
class Accounts:
    """``ACCOUNTS``, with the rows of a snapshot's manifest in its order; null where the ledger has nothing."""

    rows: pa.Table
    finished_at: datetime | None  # when the last of the clips was settled


def read_accounts(store: Store, snapshot: Snapshot) -> Accounts:
    """Scan the ledger of a dataset for the clips of a snapshot.

    Raises:
        StorageError: the ledger cannot be read.
    """
    clip_ids, recipes = snapshot.clips["clip_id"], snapshot.made_by.get("recipes", {})
    entries = {
        stage: _aligned(scan(store, stage, recipes.get(name) if name else None, _COLUMNS), clip_ids)
        for stage, name in STAGES.items()
        if name != "augment" or name in recipes
    }
    nothing = pa.nulls(len(clip_ids), pa.float64())
    seconds = {stage: entries[stage]["seconds"] if stage in entries else nothing for stage in STAGES}
    total = pa.array(np.zeros(len(clip_ids)))
    for column in seconds.values():
        total = pc.add(total, pc.fill_null(column, 0.0))
    columns = [
        entries[download.STAGE]["source"],
        pc.max_element_wise(*(table["attempts"] for table in entries.values())),
        *seconds.values(),
        pc.if_else(pc.is_valid(pc.coalesce(*seconds.values())), total, None),
    ]
    ends = [end for table in entries.values() if (end := pc.max(table["finished_at"]).as_py()) is not None]
    return Accounts(pa.Table.from_arrays(columns, names=ACCOUNTS.names).cast(ACCOUNTS), max(ends, default=None))


_COLUMNS = ("outcome", "source", "attempts", "seconds")


def _aligned(entries: pa.Table, clip_ids: pa.ChunkedArray) -> pa.Table:
    """The entries of ``clip_ids``, a row each; null where there is none."""
    entries = entries.filter(pc.not_equal(entries["outcome"], DROPPED))
    nullable = pa.schema([field.with_nullable(True) for field in entries.schema])
    return entries.cast(nullable).take(pc.index_in(clip_ids, entries["key"].combine_chunks()))
