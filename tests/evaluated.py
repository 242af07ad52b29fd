"""A small dataset in a store, and models on it that learned nothing: what an evaluation starts from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import nn

from tests.snapshotted import CLIPS, DATASET, FRAMES
from tests.vidclf.conftest import build_dataset
from vidclf.clips import SCHEMA_VERSION
from vidclf.config import DataConfig
from vidclf.data.view import resolve_view, stored_frames
from vidclf.evaluation.judge import Question
from vidclf.models import build, checkpoint
from vidclf.snapshot import Snapshot, dataset_store, point_latest_at, read_snapshot, write_snapshot
from vidclf.storage import Store

#: Labels of the two classes as Kinetics-400 spells them, and one that it does not know.
KINETICS = {"dark": "Robot_Dancing", "light": "tap dancing"}
UNKNOWN = "moonwalking"


def dataset(
    folder: Path, clips_per_split: dict[str, int], labels: dict[str, str] | None = None, **options: Any
) -> Snapshot:
    """The tiny dataset of ``tests.vidclf.conftest`` in ``folder/store``, its labels replaced; then the last clip's, too,
    by one that nobody knows."""
    tiny = build_dataset(folder / "made", clips_per_split, size=(44, 32), **options)
    rows, classes = tiny.manifest.to_pylist(), tiny.classes
    if labels:
        classes = [*(labels[name] for name in classes), UNKNOWN]
        for row in rows:
            row["label"] = labels[row["label"]]
        ok = [row for row in rows if row["status"] == "ok"]
        ok[-1] |= {"label": UNKNOWN, "label_id": 2}
    store = dataset_store(str(folder / "store"), DATASET)
    Path(store.root).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(tiny.store.root, store.root)
    store.write_json("dataset.json", {"schema_version": SCHEMA_VERSION, "num_shards": 1})
    made_by = {"frames": FRAMES, "clips": CLIPS, "recipes": {}}
    snapshot = write_snapshot(store, pa.Table.from_pylist(rows, schema=tiny.manifest.schema), classes, made_by)
    point_latest_at(store, snapshot, "test")
    return snapshot


def loud(model: nn.Module, factor: float = 40.0) -> nn.Module:
    """With an output layer whose answers are far from each other: those of random weights are all alike."""
    *_, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        last.weight *= factor
    return model


def untrained(folder: Path, model: str = "cnn_lstm", seed: int = 0, name: str = "") -> str:
    """The URI of a checkpoint for the dataset in ``folder/store``."""
    store = str(folder / "store")
    snapshot = read_snapshot(dataset_store(store, DATASET))
    view = resolve_view(model, DataConfig(num_frames=4, crop_size=32), stored_frames(snapshot.made_by, "frames"))
    torch.manual_seed(seed)
    card = checkpoint.ModelCard(
        model=model, classes=tuple(snapshot.classes), view=view, weights="none", snapshot_id=snapshot.snapshot_id,
        train_config={},
    )  # fmt: skip
    path = f"models/{name or model}"
    checkpoint.save(Store(store), path, loud(build(model, len(snapshot.classes), 4, 32)), card)
    return f"{store}/{path}"


def question(folder: Path, uri: str, **changes: Any) -> Question:
    """About the split "test", two views in time."""
    store = str(folder / "store")
    snapshot_id = read_snapshot(dataset_store(store, DATASET)).snapshot_id
    asked: dict[str, Any] = {"split": "test", "num_ensemble_views": 2}
    return Question(uri.rsplit("/", 1)[-1], uri, store, DATASET, snapshot_id, **(asked | changes))
