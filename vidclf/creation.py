"""Where an ingest writes: its dataset's store, and ``dataset.json``, which says what is fixed when it is created."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from vidclf.clips import SCHEMA_VERSION
from vidclf.config import IngestConfig
from vidclf.errors import ConfigError, StorageError
from vidclf.home import default_store
from vidclf.snapshot import dataset_store
from vidclf.storage import Store

DATASET = "dataset.json"
CLIPS_PER_SHARD = 1000
CROWDED = 5000  # clips per shard


def open_dataset(config: IngestConfig) -> Store:
    """The dataset's store, proved to be writable.

    Raises:
        ConfigError: it is not.
    """
    store = dataset_store(config.store or default_store(), config.dataset)
    try:
        store.check_writable()
    except StorageError as error:
        raise ConfigError(f"the store cannot be used: {error}") from error
    return store


def num_shards(store: Store, wanted: int | None, clips: int, *, create: bool) -> int:
    """The dataset's number of shards: chosen when it is created, the same ever after.

    Args:
        wanted: what the configuration asks for; None: about a thousand clips each.
        create: write the file where there is none; otherwise only say what it would be.

    Raises:
        ConfigError: the dataset has another number, or is of another schema.
    """
    first = wanted or max(1, round(clips / CLIPS_PER_SHARD))
    if create:
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        created = {"schema_version": SCHEMA_VERSION, "num_shards": first, "created_at": created_at}
        store.create(DATASET, json.dumps(created, indent=2).encode())
    elif not store.is_file(DATASET):
        return first
    dataset = store.read_json(DATASET)
    if dataset["schema_version"] != SCHEMA_VERSION:
        raise ConfigError(
            f"dataset {store.uri} was made by another version of vidclf (schema {dataset['schema_version']}, "
            f"this one writes {SCHEMA_VERSION}): choose another dataset name"
        )
    if wanted is not None and wanted != dataset["num_shards"]:
        raise ConfigError(
            f"execution.num_shards is {wanted}, but dataset {store.uri} was created with "
            f"{dataset['num_shards']}, which cannot change"
        )
    return int(dataset["num_shards"])


def crowded(num_shards: int, clips: int) -> tuple[str, ...]:
    """What to tell about a dataset whose shards were counted for a smaller list; nothing where they are not too few."""
    if clips <= CROWDED * num_shards:
        return ()
    return (
        f"{clips:,} clips in {num_shards:,} shard{'s' if num_shards > 1 else ''}: a shard is meant for about "
        f"{CLIPS_PER_SHARD:,}, and holds each stage up until all of it is through; the number was fixed when the dataset "
        f"was created, so a new one, with execution.num_shards {round(clips / CLIPS_PER_SHARD):,}, works faster",
    )
