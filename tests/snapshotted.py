"""The tiny dataset of ``tests.vidclf.conftest`` in a store, with a snapshot: what a training starts from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.vidclf.conftest import build_dataset
from vidclf.clips import SCHEMA_VERSION
from vidclf.snapshot import Snapshot, dataset_store, point_latest_at, write_snapshot

DATASET = "tiny"
FRAMES = {"num_frames": 8, "fps": None, "max_frames": 512, "side_size": 32, "size": None}
CLIPS = {"short_side": 32, "fps": None}


def snapshotted(folder: Path, clips_per_split: dict[str, int], **options: Any) -> Snapshot:
    """Build it in the store ``folder/store``."""
    tiny = build_dataset(folder / "made", clips_per_split, size=(40, 32), **options)
    store = dataset_store(str(folder / "store"), DATASET)
    Path(store.root).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(tiny.store.root, store.root)
    store.write_json("dataset.json", {"schema_version": SCHEMA_VERSION, "num_shards": 1})
    made_by = {"frames": FRAMES, "clips": CLIPS, "recipes": {}}
    snapshot = write_snapshot(store, tiny.manifest, tiny.classes, made_by)
    point_latest_at(store, snapshot, "test")
    return snapshot
