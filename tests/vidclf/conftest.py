"""A tiny dataset as the frames stage leaves it: JPEG frames in Parquet, and a manifest. For data and training."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from vidclf.clips import FRAMES, MANIFEST
from vidclf.data.view import StoredFrames, View
from vidclf.storage import Store

if TYPE_CHECKING:
    from tests.vidclf.ingested import Ingest

CLASSES = ["dark", "light"]

# Read when torch is first imported: two threads that wait for each other are slower than one, on tensors this small.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class TinyDataset:
    """``classes`` are told apart by brightness; red counts the frames: frame i of a clip has red = 20·i."""

    store: Store
    manifest: pa.Table
    classes: list[str]


def jpeg_frame(index: int, label_id: int, width: int, height: int, variant: int) -> bytes:
    """One picture: red tells the frame, green the class, blue the variant."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = (20 * index, 60 + 120 * label_id, 100 * variant)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def build_dataset(
    folder: Path,
    clips_per_split: dict[str, int],
    num_frames: int = 8,
    variants: int = 0,
    size: tuple[int, int] = (40, 32),
    failed: int = 0,
) -> TinyDataset:
    """``clips_per_split`` clips of each class; training clips get ``variants``; ``failed`` rows without a clip each."""
    store = Store(folder / "dataset")
    manifest: list[dict[str, Any]] = []
    frames: list[dict[str, Any]] = []
    augmented: list[dict[str, Any]] = []

    def stored(clip_id: str, label_id: int, variant: int) -> dict[str, Any]:
        width, height = size
        pictures = [jpeg_frame(i, label_id, width, height, variant) for i in range(num_frames)]
        times = [0.1 * i for i in range(num_frames)]
        return dict(clip_id=clip_id, variant=variant, frames=pictures, timestamps=times, width=width, height=height)

    for split, count in clips_per_split.items():
        for position in range(count):
            for label_id, label in enumerate(CLASSES):
                clip_id = f"{split}-{label}-{position}"
                row = dict(annotation_id=clip_id, clip_id=clip_id, label=label, label_id=label_id, split=split)
                row |= dict(source_id=clip_id, status="ok", frames_path="frames/a.parquet", frames_row=len(frames))
                frames.append(stored(clip_id, label_id, 0))
                if variants and split == "train":
                    row |= dict(num_variants=variants, variants_path="frames/v.parquet", variants_row=len(augmented))
                    augmented += [stored(clip_id, label_id, variant + 1) for variant in range(variants)]
                manifest.append(row)
        for position in range(failed):
            clip_id = f"{split}-failed-{position}"
            row = dict(annotation_id=clip_id, clip_id=clip_id, label="dark", label_id=0, split=split)
            manifest.append(row | dict(source_id=clip_id, status="failed", error_kind="gone"))

    for path, rows in {"frames/a.parquet": frames, "frames/v.parquet": augmented}.items():
        if rows:
            table = pa.Table.from_pylist(rows, schema=FRAMES)
            store.write_table(path, table, row_group_size=1, compression="none")
    return TinyDataset(store, pa.Table.from_pylist(manifest, schema=MANIFEST), CLASSES)


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., TinyDataset]:
    """``build_dataset`` in this test's own folder."""
    return lambda *args, **kwargs: build_dataset(tmp_path, *args, **kwargs)


@pytest.fixture
def make_view() -> Callable[..., View]:
    """A small view; keyword arguments replace its fields."""

    def make(**changes: Any) -> View:
        values: dict[str, Any] = dict(num_frames=4, sampling_rate=2, side_size=32, crop_size=32)
        values |= dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), stored=StoredFrames(num_frames=8, side_size=32))
        return View(**(values | changes))

    return make


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``videos`` and an ingested ``dataset``, see ``tests.vidclf.ingested``; not to be changed."""
    from tests.vidclf.ingested import Ingest, draw_videos

    folder = tmp_path_factory.mktemp("ingested")
    draw_videos(folder / "videos")
    Ingest(Store(folder / "dataset"), folder / "videos").run()
    return folder


@pytest.fixture
def ingest(ingested: Path, tmp_path: Path) -> Ingest:
    """That dataset, in a copy that may be changed, and the means to go on with it."""
    from tests.vidclf.ingested import Ingest

    shutil.copytree(ingested / "dataset", tmp_path / "dataset")
    return Ingest(Store(tmp_path / "dataset"), ingested / "videos")
