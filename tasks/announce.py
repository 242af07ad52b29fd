"""A new snapshot is announced as a Prefect event, for triggers of deployments."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prefect import tags
from prefect.events import emit_event
from prefect.runtime import flow_run

from vidclf.config import IngestConfig
from vidclf.home import default_store
from vidclf.storage import Store

PUBLISHED = "vidclf.snapshot.published"
#: The resource's label that says who published. A retraining's trigger asks for ``ingest``, so that it never starts itself.
PUBLISHED_BY = "vidclf.published_by"
RETRAINING = "retraining"  # and the tag of the flow runs inside one


@contextlib.contextmanager
def inside_retraining() -> Iterator[None]:
    """What the block's flows publish is announced as a retraining's."""
    with tags(RETRAINING):
        yield


def announce(config: IngestConfig, snapshot_id: str) -> None:
    """Say that a dataset has a new latest snapshot. The flow run is a related resource by itself."""
    publisher = RETRAINING if RETRAINING in (flow_run.tags or []) else "ingest"
    emit_event(
        PUBLISHED,
        resource={
            "prefect.resource.id": f"vidclf.dataset.{config.dataset}",
            "prefect.resource.name": config.dataset,
            PUBLISHED_BY: publisher,
        },
        payload={
            "snapshot_id": snapshot_id,
            "dataset": config.dataset,
            "store": Store(config.store or default_store()).uri,
        },
    )
