"""One ingest run: what all its tasks share."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tasks import fanout
from tasks.cluster import cluster
from tasks.progress import board
from vidclf.clips import SCHEMA_VERSION, Annotation
from vidclf.config import IngestConfig
from vidclf.errors import ConfigError, StorageError
from vidclf.home import default_store
from vidclf.lease import Lease, hold
from vidclf.media import augment, cut, frames
from vidclf.snapshot import dataset_store
from vidclf.stages import download
from vidclf.storage import Store

DATASET = "dataset.json"


@dataclass
class Plan:
    """The annotations, and the clips to make of them, by shard."""

    annotations: list[Annotation] = field(default_factory=list)
    shards: dict[int, dict[str, Annotation]] = field(default_factory=dict)  # shard → clip_id → the one that is used


class IngestRun:
    """What the tasks of one run share: configuration, store, recipes, lease, plan. Not a value; passed by reference."""

    def __init__(self, config: IngestConfig, store: Store, run_id: str, lease: Lease):
        self.config = config
        self.store = store
        self.run_id = run_id
        self.lease = lease
        self.plan = Plan()
        self.download_recipe = download.recipe_of(config.sources)
        self.clip_recipe = cut.recipe_of(config.clips)
        self.frames_recipe = frames.recipe_of(self.clip_recipe, config.frames)
        self.augment_recipe = augment.recipe_of(self.frames_recipe, config.augment) if config.augment else None

    @property
    def recipes(self) -> dict[str, str]:
        """What made the data, by stage; part of a snapshot's identity."""
        recipes = {"clips": self.clip_recipe, "frames": self.frames_recipe}
        return {**recipes, "augment": self.augment_recipe} if self.augment_recipe else recipes

    @property
    def made_by(self) -> dict[str, object]:
        """The settings of the stages, for those who read the snapshot."""
        settings = self.config.model_dump(mode="json", include={"clips", "frames", "augment"})
        return {**settings, "recipes": self.recipes}

    def fix_num_shards(self, clips: int) -> int:
        """The dataset's number of shards: chosen when it is created, read ever after.

        Raises:
            ConfigError: the configuration wants another number than the dataset has, or its schema is newer.
        """
        wanted = self.config.execution.num_shards
        first = wanted or max(1, round(clips / 1000))
        created = {"schema_version": SCHEMA_VERSION, "num_shards": first, "created_at": _now()}
        self.store.create(DATASET, json.dumps(created, indent=2).encode())
        dataset = self.store.read_json(DATASET)
        if dataset["schema_version"] > SCHEMA_VERSION:
            raise ConfigError(
                f"dataset {self.store.uri} was made by a newer vidclf (schema {dataset['schema_version']})"
            )
        if wanted is not None and wanted != dataset["num_shards"]:
            raise ConfigError(
                f"execution.num_shards is {wanted}, but dataset {self.store.uri} was created with "
                f"{dataset['num_shards']}, which cannot change"
            )
        return int(dataset["num_shards"])


@contextlib.contextmanager
def ingest_run(config: IngestConfig) -> Iterator[IngestRun]:
    """Hold the dataset's lease and a Ray cluster for the length of a run; on an error, stop all work in flight.

    Raises:
        ConfigError: the store cannot be written.
        LeaseHeld: another run works on the dataset.
    """
    run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    store = dataset_store(config.store or default_store(), config.dataset)
    try:
        store.check_writable()
    except StorageError as error:
        raise ConfigError(f"the store cannot be used: {error}") from error
    fanout.stopping.clear()
    board.reset()
    with hold(store, run_id) as lease, cluster():
        fanout.slots.limit_to(config.execution.max_in_flight or 0)
        try:
            yield IngestRun(config, store, run_id, lease)
        except BaseException:
            fanout.stopping.set()
            raise


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
