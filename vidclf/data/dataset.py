"""Clips of a snapshot as a map-style torch dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vidclf.data.frames import FrameReader, StoredClip
from vidclf.data.sampling import train_window, view_windows
from vidclf.data.transforms import draw, picture
from vidclf.data.view import View
from vidclf.errors import ConfigError, StorageError
from vidclf.storage import Store
from vidclf.takedown import removed_ids


class Sample(TypedDict):
    """What one index gives."""

    video: Tensor  # uint8: training (C, T, H, W), evaluation (V, C, T, H, W)
    label_id: int
    index: int


@dataclass(frozen=True)
class Entry:
    """One stored clip or variant."""

    clip_id: str
    label_id: int
    variant: int
    path: str
    row: int


class ClipDataset(Dataset[Sample]):
    """The ok clips of one split, without those that were taken out of the dataset since the snapshot.

    For training, a sample is one random view of a clip or of an augmented variant; what is random depends on seed,
    epoch and index only, so neither the order of reading nor the number of loader processes changes it.
    For evaluation, a sample is all ``num_views`` views of an unaltered clip, without randomness.

    Args:
        manifest: ``vidclf.clips.MANIFEST``; its paths are relative to ``store``.
        store: the dataset's part of the store.
        classes: the class list that label ids count in; labels are matched by name, so an older or a longer list of
            the same dataset fits too.
        split: the split to read.
        view: what the model gets to see.
        train: random views with variants, or fixed ones without.
        seed: of the random views.
        num_views: views per video in evaluation, spread evenly.
        horizontal_flip: probability of mirroring a training clip.

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
        horizontal_flip: float = 0.0,
    ):
        self.view, self.classes, self.split, self.train = view, list(classes), split, train
        self.seed, self.epoch, self.num_views, self.horizontal_flip = seed, 0, num_views, horizontal_flip
        self._reader = FrameReader(store)
        manifest, self._statuses = _without_removed(manifest, split, removed_ids(store))
        self.entries = _entries(manifest, self.classes, split, with_variants=train)
        if train and len({entry.label_id for entry in self.entries}) < 2:
            only = self.classes[self.entries[0].label_id]
            raise ConfigError(f"split {split!r} has clips of one class only, {only!r}: there is nothing to learn")

    def __len__(self) -> int:
        return len(self.entries)

    def set_epoch(self, epoch: int) -> None:
        """Another epoch, other random views. To be called before a loader is made."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Sample:
        """Read, sample and transform one clip.

        Raises:
            StorageError: its frames cannot be read, or are another clip's.
            Removed: it was taken out of the dataset since this was made.
        """
        entry = self.entries[index]
        clip = self._reader.read(entry.path, entry.row)
        if (clip.clip_id, clip.variant) != (entry.clip_id, entry.variant):
            raise StorageError(
                f"row group {entry.row} of {entry.path} is {clip.clip_id} variant {clip.variant},"
                f" the manifest says {entry.clip_id} variant {entry.variant}"
            )
        video = self._random_view(clip, index) if self.train else all_views(clip, self.view, self.num_views)
        return {"video": video, "label_id": entry.label_id, "index": index}

    def describe(self) -> dict[str, Any]:
        """Counts for a log: clips, variants, clips per class, and the rows of the split that are not ok."""
        clips = [entry for entry in self.entries if entry.variant == 0]
        per_class = Counter(self.classes[entry.label_id] for entry in clips)
        return {
            "split": self.split,
            "clips": len(clips),
            "variants": len(self.entries) - len(clips),
            "views_per_clip": 1 if self.train else self.num_views,
            "clips_per_class": {name: per_class[name] for name in self.classes},
            "not_ok": {status: count for status, count in sorted(self._statuses.items()) if status != "ok"},
        }

    def _random_view(self, clip: StoredClip, index: int) -> Tensor:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        window = train_window(len(clip), self.view.num_frames, self.view.sampling_rate, rng)
        return picture(clip.decode(window.tolist()), self.view, draw(rng, self.horizontal_flip))


def all_views(clip: StoredClip, view: View, num_views: int) -> Tensor:
    """The evaluation views of a clip: uint8 (V, C, T, H, W)."""
    windows = view_windows(len(clip), view.num_frames, view.sampling_rate, num_views)
    frames = clip.decode(windows.flatten().tolist())
    return views_of(frames, view, num_views)


def views_of(frames: Tensor, view: View, num_views: int) -> Tensor:
    """Frames of the views one after another, uint8 (V·T, C, H, W) → uint8 (V, C, T, crop_size, crop_size)."""
    pictures = picture(frames, view)  # (C, V·T, H, W)
    shape = (pictures.shape[0], num_views, view.num_frames, *pictures.shape[-2:])
    return pictures.reshape(shape).transpose(0, 1).contiguous()


def collate(samples: list[Sample]) -> tuple[Tensor, Tensor, list[int]]:
    """Samples → videos uint8 (B, …), label ids int64 (B,), indices."""
    videos = torch.stack([sample["video"] for sample in samples])
    label_ids = torch.tensor([sample["label_id"] for sample in samples])
    return videos, label_ids, [sample["index"] for sample in samples]


def _without_removed(manifest: pa.Table, split: str, removed: Collection[str]) -> tuple[pa.Table, Counter[str]]:
    """The rows of clips that are still there, and the split's counts by status, ``removed`` among them."""
    gone = pc.and_(
        pc.is_in(manifest["clip_id"], pa.array(list(removed), pa.string())), pc.equal(manifest["status"], "ok")
    )
    status = pc.if_else(gone, "removed", manifest["status"])
    counts = Counter(status.filter(pc.equal(manifest["split"], split)).to_pylist())
    return manifest.filter(pc.invert(gone)), counts


def _entries(manifest: pa.Table, classes: list[str], split: str, with_variants: bool) -> list[Entry]:
    columns = ["clip_id", "label", "split", "status", "frames_path", "frames_row"]
    columns += ["num_variants", "variants_path", "variants_row"]
    rows = [row for row in manifest.select(columns).to_pylist() if row["status"] == "ok" and row["frames_path"]]
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
        found[clip_id] = [Entry(clip_id, label_ids[label], 0, row["frames_path"], row["frames_row"])]
        if with_variants and row["variants_path"]:
            found[clip_id] += [
                Entry(clip_id, label_ids[label], variant, row["variants_path"], row["variants_row"] + variant - 1)
                for variant in range(1, (row["num_variants"] or 0) + 1)
            ]
    if not found:
        existing = ", ".join(f"{name} ({count})" for name, count in sorted(Counter(r["split"] for r in rows).items()))
        raise ConfigError(f"split {split!r} has no ok clip; splits that have: {existing or 'none'}")
    return [entry for entries in found.values() for entry in entries]
