"""Clips of a snapshot as a map-style torch dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vidclf.config import DataConfig
from vidclf.config.training import ReaderName
from vidclf.data.batch import Batch, Failure, Sample, collate
from vidclf.data.clips import ClipReader
from vidclf.data.frames import FrameReader
from vidclf.data.readers import Entry, Frames, Reader
from vidclf.data.sampling import train_window, view_windows
from vidclf.data.transforms import Randomness, picture
from vidclf.data.view import View
from vidclf.errors import ClipError, ConfigError, StorageError
from vidclf.storage import Store
from vidclf.takedown import removed_ids

__all__ = ["Batch", "ClipDataset", "Entry", "Failure", "Sample", "all_views", "collate", "views_of"]

READERS: dict[ReaderName, type[FrameReader] | type[ClipReader]] = {"frames": FrameReader, "clips": ClipReader}

#: A random view, and nothing else.
PLAIN = DataConfig(horizontal_flip=0.0)


class ClipDataset(Dataset[Sample]):
    """The ok clips of one split, without those that were taken out of the dataset since the snapshot.

    For training, a sample is one random view of a clip or of an augmented variant; what is random depends on seed,
    epoch and index only, so neither the order of reading nor the number of loader processes changes it.
    For evaluation, a sample is all ``num_views`` views of an unaltered clip, without randomness.

    A clip that cannot be read is a sample of weight 0 with the reason, never another clip: see ``Quarantine``.

    Args:
        manifest: ``vidclf.clips.MANIFEST``; its paths are relative to ``store``.
        store: the dataset's part of the store.
        classes: the class list that label ids count in; labels are matched by name, so an older or a longer list of
            the same dataset fits too.
        split: the split to read.
        view: what the model gets to see, and which reader reads it. The reader "clips" has no variants.
        train: random views with variants, or fixed ones without.
        seed: of the random views.
        num_views: views per video in evaluation, spread evenly.
        data: how training clips are drawn: see ``Randomness``.

    Raises:
        ConfigError: the split has no ok clip, has a label outside ``classes``, or a training has one class only.
    """

    def __init__(
        self,
        manifest: pa.Table,
        store: Store,
        classes: Sequence[str],
        split: str,
        view: View,
        *,
        train: bool,
        seed: int = 0,
        num_views: int = 1,
        data: DataConfig = PLAIN,
    ):
        self.view, self.classes, self.split, self.train = view, list(classes), split, train
        self.seed, self.epoch, self.num_views = seed, 0, num_views
        self._reader: Reader = READERS[view.reader](store)
        self._randomness = Randomness(data, view)
        manifest, self._statuses = _without_removed(manifest, split, removed_ids(store))
        self.entries = _entries(manifest, self.classes, split, view.reader, with_variants=train)
        if train and len({entry.label_id for entry in self.entries}) < 2:
            only = self.classes[self.entries[0].label_id]
            raise ConfigError(f"split {split!r} has clips of one class only, {only!r}: there is nothing to learn")

    def __len__(self) -> int:
        return len(self.entries)

    def set_epoch(self, epoch: int) -> None:
        """Another epoch, other random views. To be called before a loader is made."""
        self.epoch = epoch

    @property
    def label_ids(self) -> list[int]:
        """Of every index, for ``vidclf.data.balance``."""
        return [entry.label_id for entry in self.entries]

    def __getitem__(self, index: int) -> Sample:
        """Read, sample and transform one clip."""
        entry = self.entries[index]
        failure = None
        try:
            with self._reader.open(entry) as frames:
                video = self._random_view(frames, index) if self.train else all_views(frames, self.view, self.num_views)
        except (StorageError, ClipError) as error:
            video, failure = self._nothing(), Failure(_name(entry), str(error))
        weight = 0.0 if failure else 1.0
        return {"video": video, "label_id": entry.label_id, "index": index, "weight": weight, "failure": failure}

    def describe(self) -> dict[str, Any]:
        """Counts for a log: clips, variants, clips per class, and the rows of the split that are not ok."""
        clips = [entry for entry in self.entries if entry.variant == 0]
        per_class = Counter(self.classes[entry.label_id] for entry in clips)
        return {
            "split": self.split,
            "reader": self.view.reader,
            "clips": len(clips),
            "variants": len(self.entries) - len(clips),
            "views_per_clip": 1 if self.train else self.num_views,
            "clips_per_class": {name: per_class[name] for name in self.classes},
            "not_ok": {status: count for status, count in sorted(self._statuses.items()) if status != "ok"},
        }

    def _random_view(self, frames: Frames, index: int) -> Tensor:
        view, rng = self.view, np.random.default_rng((self.seed, self.epoch, index))
        window = train_window(len(frames), view.num_frames, view.sampling_rate, rng, view.sampling)
        return picture(frames.decode(window.tolist()), view, self._randomness.draw(rng))

    def _nothing(self) -> Tensor:
        shape = (3, self.view.num_frames, self.view.crop_size, self.view.crop_size)
        return torch.zeros(shape if self.train else (self.num_views, *shape), dtype=torch.uint8)


def all_views(frames: Frames, view: View, num_views: int) -> Tensor:
    """The evaluation views of a clip: uint8 (V, C, T, H, W)."""
    windows = view_windows(len(frames), view.num_frames, view.sampling_rate, num_views, view.sampling)
    return views_of(frames.decode(windows.flatten().tolist()), view, num_views)


def views_of(frames: Tensor, view: View, num_views: int) -> Tensor:
    """Frames of the views one after another, uint8 (V·T, C, H, W) → uint8 (V, C, T, crop_size, crop_size)."""
    pictures = picture(frames, view)  # (C, V·T, H, W)
    shape = (pictures.shape[0], num_views, view.num_frames, *pictures.shape[-2:])
    return pictures.reshape(shape).transpose(0, 1).contiguous()


def _without_removed(manifest: pa.Table, split: str, removed: Collection[str]) -> tuple[pa.Table, Counter[str]]:
    """The rows of clips that are still there, and the split's counts by status, ``removed`` among them."""
    gone = pc.and_(
        pc.is_in(manifest["clip_id"], pa.array(list(removed), pa.string())), pc.equal(manifest["status"], "ok")
    )
    status = pc.if_else(gone, "removed", manifest["status"])
    counts = Counter(status.filter(pc.equal(manifest["split"], split)).to_pylist())
    return manifest.filter(pc.invert(gone)), counts


def _name(entry: Entry) -> str:
    return f"{entry.clip_id} variant {entry.variant}" if entry.variant else entry.clip_id


def _entries(
    manifest: pa.Table, classes: list[str], split: str, reader: ReaderName, with_variants: bool
) -> list[Entry]:
    columns = ["clip_id", "label", "split", "status", "clip_path", "frames_path", "frames_row"]
    columns += ["num_variants", "variants_path", "variants_row"]
    path, with_variants = ("clip_path", False) if reader == "clips" else ("frames_path", with_variants)
    rows = [row for row in manifest.select(columns).to_pylist() if row["status"] == "ok" and row[path]]
    label_ids = {name: label_id for label_id, name in enumerate(classes)}
    found: dict[str, list[Entry]] = {}  # by clip: annotations that repeat another's clip count once
    for row in rows:
        clip_id, label = row["clip_id"], row["label"]
        if row["split"] != split or clip_id in found:
            continue
        if label not in label_ids:
            raise ConfigError(
                f"split {split!r} has clips labelled {label!r}, which is none of the {len(classes)} classes"
            )
        position = row["frames_row"] if reader == "frames" else 0
        found[clip_id] = [Entry(clip_id, label_ids[label], 0, row[path], position)]
        if with_variants and row["variants_path"]:
            found[clip_id] += [
                Entry(clip_id, label_ids[label], variant, row["variants_path"], row["variants_row"] + variant - 1)
                for variant in range(1, (row["num_variants"] or 0) + 1)
            ]
    if not found:
        existing = ", ".join(f"{name} ({count})" for name, count in sorted(Counter(r["split"] for r in rows).items()))
        raise ConfigError(f"split {split!r} has no ok clip; splits that have: {existing or 'none'}")
    return [entry for entries in found.values() for entry in entries]
