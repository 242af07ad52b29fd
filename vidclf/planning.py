"""From a configuration to its plan: annotations read, the number of shards settled, takedowns heeded."""

from __future__ import annotations

from vidclf.annotations import read_annotations
from vidclf.config import IngestConfig
from vidclf.creation import crowded, num_shards
from vidclf.plan import Plan, make_plan
from vidclf.storage import Store
from vidclf.takedown import removed_ids, removed_sources


def plan_of(config: IngestConfig, store: Store, *, create: bool) -> Plan:
    """What ``config`` asks for of the dataset in ``store``.

    Args:
        create: write ``dataset.json`` where there is none; otherwise nothing is written.

    Raises:
        AnnotationError: see ``vidclf.annotations.read_annotations``.
        ConfigError: the dataset was created with another number of shards, or is of another schema.
    """
    annotations = read_annotations(config.annotations)
    shards = num_shards(store, config.execution.num_shards, annotations.in_all, create=create)
    notices = (*annotations.notices, *crowded(shards, len(annotations.rows)))
    return make_plan(annotations.rows, shards, notices, removed_ids(store), removed_sources(store))
