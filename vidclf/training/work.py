"""A piece of training work: what is trained on what, under a name that follows from the work itself.

The same configuration on the same snapshot has the same name, so a training that was interrupted is found again, and
one that is finished is not done twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import vidclf
from vidclf.config import TrainConfig, fingerprint
from vidclf.data.dataset import ClipDataset
from vidclf.data.view import View, resolve_view, stored_frames
from vidclf.home import default_store
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store

#: Settings that say where and how fast, not what: they do not change the name.
NOT_IDENTITY: dict[str, Any] = {
    **dict.fromkeys(("store", "snapshot", "num_workers", "cpus_per_worker", "use_gpu", "experiment"), True),
    **dict.fromkeys(("checkpoint_steps", "compile", "channels_last"), True),
    "data": {"loader_workers", "max_unreadable_share"},
}


@dataclass(frozen=True)
class TrainingWork:
    """A training, with everything that was left open settled."""

    config: TrainConfig
    store: str  # root URI
    snapshot_id: str
    classes: tuple[str, ...]  # index = label_id
    view: View
    name: str

    @property
    def model_path(self) -> str:
        """The finished checkpoint's folder, relative to the store."""
        return f"models/{self.name}"

    @property
    def training_path(self) -> str:
        """The folder of what is needed to go on, and of the lease, relative to the store."""
        return f"training/{self.name}"

    @property
    def states_path(self) -> str:
        return f"{self.training_path}/states"

    @property
    def model_uri(self) -> str:
        return f"{self.store}/{self.model_path}"


def settle(config: TrainConfig) -> TrainingWork:
    """Find the snapshot, fill in the model's own values, and name the work.

    Raises:
        ConfigError: there is no such snapshot, or the view does not fit.
    """
    store = Store(config.store or default_store()).uri
    snapshot = read_snapshot(dataset_store(store, config.dataset), config.snapshot)
    view = resolve_view(config.model, config.data, stored_frames(snapshot.made_by, config.data.reader))
    if config.weights.startswith("models:/"):
        from vidclf.tracking.models import pinned  # MLflow takes seconds

        config = config.model_copy(update={"weights": pinned(config.weights)})
    identity = config.model_dump(mode="json", exclude=NOT_IDENTITY)
    identity |= {"snapshot_id": snapshot.snapshot_id, "view": view.model_dump(mode="json"), "code": vidclf.__version__}
    name = f"{config.model}-{fingerprint(identity)}"
    if config.fast_dev_run:
        name = f"fast-dev-run-{name}"  # a try is never taken for the work
    return TrainingWork(config, store, snapshot.snapshot_id, tuple(snapshot.classes), view, name)


def open_split(
    store: str, dataset: str, snapshot_id: str, classes: Sequence[str], split: str, view: View, num_views: int
) -> ClipDataset:
    """A split of a snapshot, with fixed views: for validation and evaluation.

    Raises:
        ConfigError: the split has no clip.
    """
    data = dataset_store(store, dataset)
    clips = read_snapshot(data, snapshot_id).clips
    return ClipDataset(clips, data, classes, split, view, train=False, num_views=num_views)


def open_training_data(work: TrainingWork) -> tuple[ClipDataset, ClipDataset]:
    """The training and the validation split of ``work``.

    Raises:
        ConfigError: a split has no clip, or the training split one class only.
    """
    config = work.config
    data = dataset_store(work.store, config.dataset)
    clips = read_snapshot(data, work.snapshot_id).clips
    train = ClipDataset(
        clips, data, work.classes, config.data.train_split, work.view,
        train=True, seed=config.seed, data=config.data,
    )  # fmt: skip
    val = ClipDataset(clips, data, work.classes, config.data.val_split, work.view, train=False)
    return train, val
