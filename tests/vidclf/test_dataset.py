"""Clips of a snapshot, as a training or an evaluation reads them."""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tests.vidclf.conftest import TinyDataset
from tests.vidclf.ingested import A, Ingest
from vidclf.clips import MANIFEST
from vidclf.config import DataConfig
from vidclf.data.batch import Failure
from vidclf.data.dataset import ClipDataset, collate
from vidclf.data.frames import FrameReader
from vidclf.data.jpeg import with_opencv, with_pillow
from vidclf.data.quarantine import Quarantine
from vidclf.data.view import StoredFrames, View
from vidclf.errors import ConfigError, Removed, VidclfError
from vidclf.maintenance.remove import empty_rows, find_clips, remove
from vidclf.snapshot import read_snapshot
from vidclf.storage import Store

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
    failure = before[0]["failure"]
    assert failure is not None
    assert failure.reason == f"clip {A} was taken out since this snapshot; train on the latest"


def test_loader_processes_give_what_this_process_gives(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"train": 3}, num_frames=12)
    options = DataConfig(random_resized_crop=(0.3, 1), rand_augment=2, color_jitter=0.4, random_erase=0.5)
    data = ClipDataset(tiny.manifest, tiny.store, tiny.classes, "train", make_view(), train=True, data=options)
    here = [data[index]["video"] for index in range(len(data))]  # leaves files open that the processes inherit
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=collate)
    there = torch.cat([batch.videos for batch in loader])
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


def test_a_row_that_holds_another_clip_is_not_taken_for_it(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"val": 1})
    rows = tiny.manifest.to_pylist()
    rows[0]["frames_row"] = 1
    manifest = pa.Table.from_pylist(rows, schema=MANIFEST)
    sample = ClipDataset(manifest, tiny.store, tiny.classes, "val", make_view(), train=False)[0]
    assert sample["weight"] == 0
    assert sample["failure"] is not None
    assert "is val-light-0 variant 0, the manifest says val-dark-0" in sample["failure"].reason


def damage(tiny: TinyDataset, clip_id: str) -> None:
    """Cut the JPEGs of a clip short."""
    table = tiny.store.read_table("frames/a.parquet")
    rows = table.to_pylist()
    for row in rows:
        if row["clip_id"] == clip_id:
            row["frames"] = [frame[: len(frame) // 2] for frame in row["frames"]]
    tiny.store.write_table(
        "frames/a.parquet", pa.Table.from_pylist(rows, schema=table.schema), row_group_size=1, compression="none"
    )


@pytest.mark.parametrize("train", [True, False])
def test_a_damaged_clip_weighs_nothing_and_its_neighbours_are_as_before(
    make_dataset: Make, make_view: MakeView, train: bool
) -> None:
    tiny = make_dataset({"train": 2})
    arguments = (tiny.manifest, tiny.store, tiny.classes, "train", make_view())
    before = collate([ClipDataset(*arguments, train=train)[i] for i in range(4)])
    assert before.weights.tolist() == [1, 1, 1, 1]
    assert before.failures == []
    damage(tiny, "train-light-0")
    data = ClipDataset(*arguments, train=train)
    batch = next(iter(DataLoader(data, batch_size=4, collate_fn=collate, num_workers=1)))
    assert batch.weights.tolist() == [1, 0, 1, 1]
    assert batch.weights.dtype == torch.float32
    assert batch.indices == [0, 1, 2, 3]
    assert torch.equal(batch.label_ids, before.label_ids)
    assert torch.equal(batch.videos[[0, 2, 3]], before.videos[[0, 2, 3]])
    assert not batch.videos[1].any()
    (failure,) = batch.failures
    assert failure.clip_id == "train-light-0"
    assert "of train-light-0 cannot be decoded: it is no whole JPEG" in failure.reason


def test_both_jpeg_decoders_give_the_same_bytes_and_refuse_what_is_cut_short(make_dataset: Make) -> None:
    rng = np.random.default_rng(0)
    for subsampling, quality, size in [(0, 95, (64, 48)), (2, 75, (77, 101)), (2, 90, (17, 16))]:
        file = io.BytesIO()
        picture = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        picture.save(file, "JPEG", quality=quality, subsampling=subsampling)
        jpeg = pa.py_buffer(file.getvalue())
        assert np.array_equal(with_opencv(jpeg), with_pillow(jpeg))
        for decode in (with_opencv, with_pillow):
            for broken in (jpeg.slice(0, jpeg.size // 2), jpeg.slice(0, 0)):
                with pytest.raises(ValueError, match=r"."):
                    decode(broken)


def test_missing_frames_are_named(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"val": 1})
    tiny.store.delete("frames/a.parquet")
    failure = ClipDataset(tiny.manifest, tiny.store, tiny.classes, "val", make_view(), train=False)[0]["failure"]
    assert failure is not None
    assert failure.clip_id == "val-dark-0"
    assert "frames/a.parquet" in failure.reason


def test_an_unreadable_variant_is_named_as_one(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"train": 1}, variants=1)
    tiny.store.delete("frames/v.parquet")
    data = ClipDataset(tiny.manifest, tiny.store, tiny.classes, "train", make_view(), train=True)
    failures = collate([data[i] for i in range(len(data))]).failures
    assert [failure.clip_id for failure in failures] == ["train-dark-0 variant 1", "train-light-0 variant 1"]


def test_the_budget_of_unreadable_clips_counts_each_once_and_says_the_first_reason() -> None:
    quarantine = Quarantine(num_clips=100, max_share=0.02)
    assert quarantine.add([Failure("a", "no such file")]) == [Failure("a", "no such file")]
    assert quarantine.add([Failure("a", "no such file"), Failure("b", "damaged")]) == [Failure("b", "damaged")]
    assert quarantine.reasons == {"a": "no such file", "b": "damaged"}
    with pytest.raises(VidclfError, match=r"3 of 100 clips cannot be read.*is 0\.02; the first is a: no such file"):
        quarantine.add([Failure("c", "damaged")])


def test_without_a_budget_the_first_unreadable_clip_is_one_too_many() -> None:
    with pytest.raises(VidclfError, match=r"1 of 9 clips cannot be read"):
        Quarantine(9, 0.0).add([Failure("a", "gone")])


def test_a_clip_in_a_bucket_is_one_ranged_read_once_its_file_is_known(
    make_dataset: Make, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    local = make_dataset({"val": 2, "train": 1}, variants=1)
    reader, here = FrameReader(Store(bucket), open_files=1), FrameReader(local.store)
    paths = ("frames/a.parquet", "frames/v.parquet")
    for path in paths:
        reader.store.write_bytes(path, local.store.read_bytes(path))
        reader.read(path, 0)  # asks for its size and its footer
    caplog.set_level("INFO", "werkzeug")
    for path, row in itertools.product(paths, (1, 0)):  # more files than stay open
        caplog.clear()
        assert reader.read(path, row) == here.read(path, row)
        requests = [message for message in caplog.messages if path in message]
        assert [("GET" in message, '" 206' in message) for message in requests] == [(True, True)]  # partial content


def test_a_file_in_a_bucket_that_a_takedown_wrote_anew_is_read_anew(make_dataset: Make, bucket: str) -> None:
    local, path = make_dataset({"val": 2}), "frames/a.parquet"
    reader, here = FrameReader(Store(bucket)), FrameReader(local.store)
    reader.store.write_bytes(path, local.store.read_bytes(path))
    assert reader.read(path, 3) == here.read(path, 3)
    assert empty_rows(Store(bucket), path, {"val-dark-0"}) == 1  # in front of the others: they have moved
    for row in (3, 1, 2):
        assert reader.read(path, row) == here.read(path, row)
    with pytest.raises(Removed, match="clip val-dark-0 was taken out"):
        reader.read(path, 0)


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_a_bucket_gives_the_same_as_a_folder_also_to_loader_processes(
    make_dataset: Make, make_view: MakeView, bucket: str, loader_workers: int
) -> None:
    local = make_dataset({"val": 2})
    remote = Store(bucket)
    remote.write_bytes("frames/a.parquet", local.store.read_bytes("frames/a.parquet"))
    arguments = (local.classes, "val", make_view())
    data = ClipDataset(local.manifest, remote, *arguments, train=False)
    here = ClipDataset(local.manifest, local.store, *arguments, train=False)
    assert torch.equal(data[0]["video"], here[0]["video"])  # reads the footer, and leaves connections open
    loader = DataLoader(data, batch_size=2, num_workers=loader_workers, collate_fn=collate)
    there = list(loader)
    assert [failure for batch in there for failure in batch.failures] == []
    assert torch.equal(torch.cat([batch.videos for batch in there]), torch.stack([here[i]["video"] for i in range(4)]))
