"""Clips of a snapshot, as a training or an evaluation reads them."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from torch.utils.data import DataLoader

from tests.vidclf.conftest import TinyDataset
from tests.vidclf.ingested import A, Ingest
from vidclf.clips import MANIFEST
from vidclf.data.dataset import ClipDataset, collate
from vidclf.data.frames import FrameReader
from vidclf.data.view import StoredFrames, View
from vidclf.errors import ConfigError, Removed, StorageError
from vidclf.maintenance.remove import find_clips, remove
from vidclf.snapshot import read_snapshot

Make = Callable[..., TinyDataset]
MakeView = Callable[..., View]


def frame_numbers(video: torch.Tensor) -> list[int]:
    """uint8 (C, T, H, W) → which stored frames these are: red is 20 times the number."""
    return [round(float(red.float().mean()) / 20) for red in video[0]]


def test_evaluation_reads_every_view_of_the_unaltered_clips(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"train": 2, "val": 3}, variants=2)
    data = ClipDataset(tiny.manifest, tiny.store, tiny.classes, "val", make_view(), train=False, num_views=2)
    assert len(data) == 6
    sample = data[1]
    assert sample["video"].shape == (2, 3, 4, 32, 32)
    assert [frame_numbers(view) for view in sample["video"]] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert data.entries[1].clip_id == "val-light-0"
    assert sample["label_id"] == 1
    assert abs(float(sample["video"][:, 1].float().mean()) - 180) < 3  # green: the class


def test_training_reads_variants_too_and_evaluation_never(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"train": 2}, variants=2)
    arguments = (tiny.manifest, tiny.store, tiny.classes, "train", make_view())
    training, evaluation = ClipDataset(*arguments, train=True), ClipDataset(*arguments, train=False)
    blue = [round(float(training[i]["video"][2].float().mean()) / 100) for i in range(len(training))]
    assert blue == [0, 1, 2] * 4  # the variant
    assert [entry.variant for entry in evaluation.entries] == [0] * 4
    assert training.describe()["variants"] == 8


def test_a_sample_depends_on_seed_epoch_and_index_only(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"train": 6}, num_frames=12)
    view = make_view(sampling_rate=1)

    def samples(order: list[int], seed: int = 0, epoch: int = 0) -> list[list[int]]:
        data = ClipDataset(tiny.manifest, tiny.store, tiny.classes, "train", view, train=True, seed=seed)
        data.set_epoch(epoch)
        found = {index: frame_numbers(data[index]["video"]) for index in order}
        return [found[index] for index in sorted(order)]

    forward = samples(list(range(12)))
    assert forward == samples(list(reversed(range(12))))
    assert forward != samples(list(range(12)), epoch=1)
    assert forward != samples(list(range(12)), seed=1)


def test_an_old_snapshot_is_read_without_what_was_taken_out_since(ingest: Ingest, make_view: MakeView) -> None:
    old = read_snapshot(ingest.store)
    arguments = (
        old.clips,
        ingest.store,
        old.classes,
        "train",
        make_view(stored=StoredFrames(num_frames=4, side_size=32), sampling_rate=1),
    )
    before = ClipDataset(*arguments, train=True)
    remove(ingest.store, find_clips(ingest.store, [A]))
    after = ClipDataset(*arguments, train=True)
    assert {entry.clip_id for entry in before.entries} - {entry.clip_id for entry in after.entries} == {A}
    assert [len(after[index]["video"]) for index in range(len(after))] == [3] * len(after)
    assert after.describe()["not_ok"] == {**before.describe()["not_ok"], "removed": 1}
    with pytest.raises(Removed, match=f"clip {A} was taken out since this snapshot; train on the latest"):
        before[0]


def test_loader_processes_give_what_this_process_gives(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"train": 3}, num_frames=12)
    data = ClipDataset(tiny.manifest, tiny.store, tiny.classes, "train", make_view(), train=True, horizontal_flip=0.5)
    here = [data[index]["video"] for index in range(len(data))]  # leaves files open that the processes inherit
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=collate)
    there = torch.cat([videos for videos, _, _ in loader])
    assert torch.equal(torch.stack(here), there)


def test_a_forked_process_opens_files_of_its_own(make_dataset: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = make_dataset({"val": 1})
    reader = FrameReader(tiny.store)
    first = reader.read("frames/a.parquet", 0)
    opened = reader._open["frames/a.parquet"]
    reader.read("frames/a.parquet", 1)
    assert reader._open["frames/a.parquet"] is opened
    monkeypatch.setattr("vidclf.data.frames.os.getpid", lambda: -1)  # what a forked process would see: another id
    assert reader.read("frames/a.parquet", 0) == first
    assert reader._open["frames/a.parquet"] is not opened


def test_few_files_stay_open(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 1}, variants=1)
    reader = FrameReader(tiny.store, open_files=1)
    for path in ("frames/a.parquet", "frames/v.parquet", "frames/a.parquet"):
        assert len(reader.read(path, 1)) == 8
    assert list(reader._open) == ["frames/a.parquet"]


def test_a_dataset_travels_to_other_processes(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"train": 2})
    data = ClipDataset(tiny.manifest, tiny.store, tiny.classes, "train", make_view(), train=True)
    before = data[0]["video"]
    assert torch.equal(pickle.loads(pickle.dumps(data))[0]["video"], before)


def test_labels_are_matched_by_name(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"val": 1})
    classes = ["other", "light", "dark"]
    data = ClipDataset(tiny.manifest, tiny.store, classes, "val", make_view(), train=False)
    assert {data.entries[i].clip_id: data[i]["label_id"] for i in range(2)} == {"val-dark-0": 2, "val-light-0": 1}
    with pytest.raises(ConfigError, match="labelled 'light', which is none of the 1 classes"):
        ClipDataset(tiny.manifest, tiny.store, ["dark"], "val", make_view(), train=False)


def test_an_annotation_that_repeats_another_counts_once(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"val": 2})
    twice = pa.concat_tables([tiny.manifest, tiny.manifest])
    data = ClipDataset(twice, tiny.store, tiny.classes, "val", make_view(), train=False)
    assert len(data) == 4


def test_a_split_without_clips_is_refused_with_the_splits_that_have_some(
    make_dataset: Make, make_view: MakeView
) -> None:
    tiny = make_dataset({"train": 2, "val": 1}, failed=1)
    with pytest.raises(ConfigError, match=r"split 'test' has no ok clip; splits that have: train \(4\), val \(2\)"):
        ClipDataset(tiny.manifest, tiny.store, tiny.classes, "test", make_view(), train=False)


def test_a_training_on_one_class_is_refused(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"train": 2})
    dark = tiny.manifest.filter(pc.equal(tiny.manifest["label"], "dark"))
    with pytest.raises(ConfigError, match="split 'train' has clips of one class only, 'dark'"):
        ClipDataset(dark, tiny.store, tiny.classes, "train", make_view(), train=True)


def test_what_is_missing_is_counted(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"train": 2, "val": 1}, failed=3)
    described = ClipDataset(tiny.manifest, tiny.store, tiny.classes, "train", make_view(), train=True).describe()
    assert described["clips"] == 4
    assert described["clips_per_class"] == {"dark": 2, "light": 2}
    assert described["not_ok"] == {"failed": 3}


def test_a_row_that_holds_another_clip_is_refused(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"val": 1})
    rows = tiny.manifest.to_pylist()
    rows[0]["frames_row"] = 1
    manifest = pa.Table.from_pylist(rows, schema=MANIFEST)
    data = ClipDataset(manifest, tiny.store, tiny.classes, "val", make_view(), train=False)
    with pytest.raises(StorageError, match="is val-light-0 variant 0, the manifest says val-dark-0"):
        data[0]


def test_missing_frames_are_named(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"val": 1})
    tiny.store.delete("frames/a.parquet")
    data = ClipDataset(tiny.manifest, tiny.store, tiny.classes, "val", make_view(), train=False)
    with pytest.raises(StorageError, match=r"frames/a\.parquet"):
        data[0]
