"""What can be known to be wrong before servers are started: it is said at once, not after half a minute."""

from __future__ import annotations

from pydantic import BaseModel

from vidclf.annotations import require_list
from vidclf.config import CompareConfig, EvaluateConfig, IngestConfig, RetrainConfig, TrainConfig, parse
from vidclf.creation import open_dataset
from vidclf.home import default_store
from vidclf.snapshot import dataset_store, read_snapshot


def check(config: BaseModel) -> None:
    """Look for the list, the store or the snapshot that a flow would begin with. The flow itself looks closer.

    Raises:
        AnnotationError: an ingest's list is not there, or in no known layout.
        ConfigError: the store cannot be written, there is no such snapshot, or the training does not fit it.
    """
    if isinstance(config, IngestConfig):
        open_dataset(config)
        require_list(config.annotations)
    elif isinstance(config, TrainConfig):
        from vidclf.training import checks, work  # torch takes seconds

        checks.check(work.settle(config))
    elif isinstance(config, RetrainConfig):
        if (settings := config.ingest_settings()) is not None:
            check(parse(IngestConfig, settings))
    elif isinstance(config, EvaluateConfig | CompareConfig):
        read_snapshot(dataset_store(config.store or default_store(), config.dataset), config.snapshot)
