"""An export is what other programs read: folders by class, and lists that name them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.vidclf.ingested import A_LATER, ANNOTATED, SALSA, TANGO, A, B, C, Ingest
from vidclf.cli import main
from vidclf.clips import safe_name
from vidclf.config import AnnotationsConfig
from vidclf.data.frames import FrameReader
from vidclf.errors import ConfigError, StorageError
from vidclf.maintenance.export import Options, export
from vidclf.maintenance.remove import find_clips, remove
from vidclf.snapshot import read_snapshot


def lines(path: Path, separator: str = ",") -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_clips_lie_in_folders_by_split_and_class_and_the_lists_name_them(ingest: Ingest, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = export(ingest.store, folder)
    snapshot = read_snapshot(ingest.store)
    assert (done.videos, done.unlabelled, done.snapshot_id) == ({"train": 3, "val": 1}, 1, snapshot.snapshot_id)
    salsa, tango = safe_name(SALSA), safe_name(TANGO)
    assert lines(folder / "train.csv") == [
        [f"train/{salsa}/{A}.mp4", "0"],
        [f"train/{salsa}/{A_LATER}.mp4", "0"],
        [f"train/{tango}/{B}.mp4", "1"],  # annotated twice, and one video
    ]
    assert lines(folder / "val.csv") == [[f"val/{tango}/{C}.mp4", "1"]]
    assert not (folder / "test.csv").exists()
    assert (folder / "classes.txt").read_text().splitlines() == json.loads((folder / "classes.json").read_text())
    assert (folder / "classes.txt").read_text().splitlines() == [SALSA, TANGO]
    for row in snapshot.clips.to_pylist():
        if row["status"] == "ok":
            exported = folder / row["split"] / safe_name(row["label"]) / f"{row['clip_id']}.mp4"
            assert exported.read_bytes() == ingest.store.read_bytes(row["clip_path"])
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_frames_lie_in_a_folder_per_clip_and_variant(ingest: Ingest, tmp_path: Path) -> None:
    done = export(ingest.store, tmp_path / "out", Options("frames", splits=("train",), variants=True))
    assert done.videos == {"train": 6}  # each class was filled up to 3
    rows = [row for row in read_snapshot(ingest.store).clips.to_pylist() if row["status"] == "ok"]
    reader, listed = FrameReader(ingest.store), {path for path, _ in lines(tmp_path / "out/train.csv")}
    for row in (row for row in rows if row["split"] == "train"):
        for variant in range((row["num_variants"] or 0) + 1):
            name = f"train/{safe_name(row['label'])}/{row['clip_id']}" + (f".v{variant}" if variant else "")
            assert name in listed
            where = (
                (row["variants_path"], row["variants_row"] + variant - 1)
                if variant
                else (row["frames_path"], row["frames_row"])
            )
            pictures = sorted((tmp_path / "out" / name).iterdir())
            assert [picture.name for picture in pictures] == [f"{number:05d}.jpg" for number in range(1, 5)]
            assert [picture.read_bytes() for picture in pictures] == reader.read(*where).frames.to_pylist()


def test_labels_that_are_alike_get_folders_of_their_own(ingest: Ingest, ingested: Path, tmp_path: Path) -> None:
    labels = iter(["a/b", "a b", "..", "..", "CON/../x", "-", "-", "a,b"])
    annotated = [{**row, "label": next(labels)} for row in ANNOTATED]
    other = Ingest(ingest.store, ingested / "videos", annotated, augment=None)
    other.run()
    folder = tmp_path / "out"
    export(ingest.store, folder)
    rows = [row for row in read_snapshot(ingest.store).clips.to_pylist() if row["status"] == "ok"]
    folders = {row["label"]: safe_name(row["label"]) for row in rows}
    assert len(set(folders.values())) == len(folders) > 3
    found = {path.relative_to(folder).parts[1] for path in folder.rglob("*.mp4")}
    assert found == set(folders.values())
    for split in ("train", "val", "test"):
        for path, _ in lines(folder / f"{split}.csv"):
            assert (folder / path).is_file()


def test_the_lists_are_read_by_pytorchvideo_and_by_our_own_reader(ingest: Ingest, tmp_path: Path) -> None:
    from pytorchvideo.data.labeled_video_paths import LabeledVideoPaths

    from vidclf.annotations import read_annotations

    export(ingest.store, tmp_path / "spaced", Options(separator=" "))
    paths = LabeledVideoPaths.from_csv(str(tmp_path / "spaced/train.csv"))
    assert [label["label"] for _, label in (paths[index] for index in range(len(paths)))] == [0, 0, 1]
    export(ingest.store, tmp_path / "out", Options(header=True))
    assert lines(tmp_path / "out/train.csv")[0] == ["path", "label"]
    found = read_annotations(AnnotationsConfig(path=str(tmp_path / "out/train.csv"))).rows.to_pylist()
    assert len(found) == 3
    assert all((tmp_path / "out" / row["source_id"]).is_file() for row in found)


def test_links_share_the_bytes_and_need_a_local_dataset(ingest: Ingest, tmp_path: Path) -> None:
    export(ingest.store, tmp_path / "out", Options(link=True))
    row = next(row for row in read_snapshot(ingest.store).clips.to_pylist() if row["clip_id"] == A)
    exported = tmp_path / "out" / lines(tmp_path / "out/train.csv")[0][0]
    assert exported.samefile(ingest.store.full(row["clip_path"]))
    export(ingest.store, tmp_path / "out")  # the same export; what is there stays
    assert exported.samefile(ingest.store.full(row["clip_path"]))
    with pytest.raises(ConfigError, match="only clips of a dataset in a local folder can be linked"):
        export(ingest.store, tmp_path / "frames", Options("frames", link=True))


def test_links_over_two_file_systems_are_refused_in_words(ingest: Ingest) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == Path(ingest.store.root).stat().st_dev:
        pytest.skip("there is no second file system here")
    folder = elsewhere / f"vidclf-test-{Path(ingest.store.root).parent.name}"
    try:
        with pytest.raises(ConfigError, match="links need one file system"):
            export(ingest.store, folder, Options(link=True))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_splits_and_labels_can_be_chosen(ingest: Ingest, tmp_path: Path) -> None:
    assert export(ingest.store, tmp_path / "one", Options(splits=("val",))).videos == {"val": 1}
    chosen = export(ingest.store, tmp_path / "two", Options(labels=(TANGO,)))
    assert chosen.videos == {"train": 1, "val": 1}
    assert lines(tmp_path / "two/val.csv")[0][1] == "1"  # a label_id is the class list's, whatever is chosen
    with pytest.raises(ConfigError, match="there is no label 'polka'; there are: salsa dancing, tango/dancing"):
        export(ingest.store, tmp_path / "three", Options(labels=("polka",)))
    with pytest.raises(ConfigError, match="no ok clip of these splits and labels"):
        export(ingest.store, tmp_path / "three", Options(splits=("test",)))
    with pytest.raises(ConfigError, match="variants exist as frames only"):
        export(ingest.store, tmp_path / "three", Options(variants=True))
    assert not (tmp_path / "three").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(ingest: Ingest, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty: name a new or an empty one"):
        export(ingest.store, folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    export(ingest.store, tmp_path / "out")
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(ConfigError, match="holds another export"):
        export(ingest.store, tmp_path / "out", Options("frames"))
    assert sorted((tmp_path / "out").rglob("*")) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        export(ingest.store, tmp_path / "file")


def test_an_export_that_was_cut_short_goes_on_and_leaves_alone_what_is_there(ingest: Ingest, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    whole = read_snapshot(ingest.store)
    paths = {row["clip_id"]: row["clip_path"] for row in whole.clips.to_pylist()}
    lost = ingest.store.read_bytes(paths[B])
    ingest.store.delete(paths[B])
    with pytest.raises(StorageError):
        export(ingest.store, folder)
    assert not (folder / "train.csv").exists()  # the lists stand for the whole
    there = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}
    assert there
    half = next(iter(there))
    half.with_name(f".{half.name}.part").write_bytes(b"half of it")
    ingest.store.write_bytes(paths[B], lost)
    assert export(ingest.store, folder).videos == {"train": 3, "val": 1}
    assert {path: path.stat().st_mtime_ns for path in there} == there


def test_a_file_that_is_not_the_snapshots_is_not_handed_out(ingest: Ingest, tmp_path: Path) -> None:
    row = next(row for row in read_snapshot(ingest.store).clips.to_pylist() if row["clip_id"] == A)
    ingest.store.write_bytes(row["clip_path"], b"short")
    with pytest.raises(StorageError, match="is not the clip that the snapshot names: verify it"):
        export(ingest.store, tmp_path / "out")
    assert not list((tmp_path / "out").rglob(f"*{A}*"))


def test_clips_removed_on_request_are_left_out_and_counted(ingest: Ingest, tmp_path: Path) -> None:
    old = read_snapshot(ingest.store).snapshot_id
    remove(ingest.store, find_clips(ingest.store, [A]))
    for kind in ("clips", "frames"):
        done = export(ingest.store, tmp_path / kind, Options(kind), old)  # type: ignore[arg-type]
        assert (done.videos["train"], done.removed) == (2, 1)
        assert not list((tmp_path / kind).rglob(f"*{A}*"))


def test_the_command_writes_and_says_what(ingest: Ingest, tmp_path: Path) -> None:
    command = ["dataset", "export", ingest.store.uri, str(tmp_path / "out"), "--as", "frames", "--split", "val"]
    done = CliRunner().invoke(main, [*command, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output)["videos"] == {"val": 1}
    said = CliRunner().invoke(main, command)
    assert said.output.startswith("1 val of snapshot ")
    other = CliRunner().invoke(main, [*command[:-2], "--split", "train"])
    assert (other.exit_code, other.output.count("\n")) == (2, 1)
    nowhere = CliRunner().invoke(main, ["dataset", "export", str(tmp_path / "no"), str(tmp_path / "x")])
    assert nowhere.exit_code == 2
    assert not (tmp_path / "x").exists()
