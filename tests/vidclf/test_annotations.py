"""Annotation lists are read whole; what makes no sense is kept, with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SHARED, VideoMaker
from vidclf.annotations import read_annotations
from vidclf.clips import clip_id, safe_name, shard_of
from vidclf.config import AnnotationsConfig
from vidclf.errors import AnnotationError

HEADER = "label,youtube_id,time_start,time_end,split\n"


def read(tmp_path: Path, text: str, **options: object) -> list[object]:
    path = tmp_path / "list.csv"
    path.write_text(text)
    return list(read_annotations(AnnotationsConfig.model_validate({"path": str(path), **options})))


def test_a_kinetics_row_becomes_an_annotation(tmp_path: Path) -> None:
    rows = read(tmp_path, HEADER + '"tap dancing",-abcdefghij,5,15,validate\n')
    (row,) = rows
    assert (row.label, row.source_id, row.time_start, row.time_end, row.split) == (  # type: ignore[attr-defined]
        "tap dancing", "-abcdefghij", 5.0, 15.0, "val",
    )  # fmt: skip
    assert row.clip_id == "-abcdefghij_000005_000015"  # type: ignore[attr-defined]
    assert row.problem is None  # type: ignore[attr-defined]


def test_rows_that_make_no_sense_are_kept_with_a_reason(tmp_path: Path) -> None:
    rows = read(tmp_path, HEADER + "a,x,5,3,train\na,x,one,two,train\na,,1,2,train\na,y,1,2,trian\na,z,1,2,train\n")
    problems = [row.problem for row in rows]  # type: ignore[attr-defined]
    assert problems[:4] == [
        "time_end 3 is not after time_start 5",
        "times 'one' to 'two' are no seconds",
        "no youtube_id",
        "split 'trian' is none of train, validate, test",
    ]
    assert problems[4] is None


def test_a_list_without_labels_is_read_as_unlabelled(tmp_path: Path) -> None:
    rows = read(tmp_path, "youtube_id,time_start,time_end,split\nabc,1,2,test\n")
    assert [row.label for row in rows] == [None]  # type: ignore[attr-defined]


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        AnnotationError, match=r"columns time_start, split missing; .* and this one label,youtube_id,time_end"
    ):
        read(tmp_path, "label,youtube_id,time_end\na,b,1\n")


def test_labels_can_be_chosen_by_a_part_of_their_name(tmp_path: Path) -> None:
    text = HEADER + "tap dancing,a,1,2,train\nshoot dance,b,1,2,train\nyoga,c,1,2,train\n"
    assert len(read(tmp_path, text, label_contains="dancing")) == 1
    assert len(read(tmp_path, text, labels=["yoga", "tap dancing"])) == 2
    with pytest.raises(AnnotationError, match="there are: shoot dance, tap dancing, yoga"):
        read(tmp_path, text, label_contains="swimming")


def test_a_list_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such file or folder"):
        read_annotations(AnnotationsConfig(path=str(tmp_path / "none.csv")))


def test_class_folders_with_splits(make_video: VideoMaker, tmp_path: Path) -> None:
    make_video("videos/train/kicking/a.mp4", num_frames=2)
    make_video("videos/val/running/b c.avi", num_frames=2, codec="mpeg4")
    rows = read_annotations(AnnotationsConfig(path=str(tmp_path / "videos")))
    assert [(row.source_id, row.label, row.split) for row in rows] == [
        ("train/kicking/a.mp4", "kicking", "train"),
        ("val/running/b c.avi", "running", "val"),
    ]


def test_class_folders_without_splits_are_divided_the_same_way_each_time(tmp_path: Path) -> None:
    for number in range(200):
        path = tmp_path / "videos" / "kicking" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    rows = read_annotations(AnnotationsConfig(path=str(tmp_path / "videos")))
    splits = {row.source_id: row.split for row in rows}
    counts = [list(splits.values()).count(split) for split in ("train", "val", "test")]
    assert sum(counts) == 200
    assert counts[0] > 140
    assert min(counts[1:]) > 8
    (tmp_path / "videos" / "kicking" / "100.mp4").unlink()
    again = read_annotations(AnnotationsConfig(path=str(tmp_path / "videos")))
    assert all(splits[row.source_id] == row.split for row in again)


@pytest.mark.parametrize("text", ["../../etc/passwd", "a b", "", ".", "..", "a/b.mp4", "ä" * 300, "\ud800"])
def test_any_id_makes_a_safe_file_name(text: str) -> None:
    name = safe_name(text)
    assert name.encode("ascii").decode() == name
    assert "/" not in name
    assert name not in ("", ".", "..")
    assert len(name) < 120


def test_names_that_would_collide_do_not() -> None:
    assert safe_name("a b") != safe_name("a-b")
    assert clip_id("x", 1.5, 2.25) == "x_000001500ms_000002250ms"
    assert clip_id("x", 1.0, 2.0) == "x_000001_000002"


def test_a_clips_shard_depends_on_its_source_alone() -> None:
    assert [shard_of("abc", 7), shard_of("abc", 7)] == [shard_of("abc", 7)] * 2
    assert len({shard_of(str(number), 7) for number in range(200)}) == 7


@pytest.mark.skipif(not SHARED.exists(), reason="the real annotation files are not here")
def test_real_annotation_files_have_the_right_counts() -> None:
    folder = SHARED / "annotations"
    whole = read_annotations(AnnotationsConfig(path=str(folder / "kinetics-600_val.csv")))
    dancing = read_annotations(AnnotationsConfig(path=str(folder / "kinetics-600_val.csv"), label_contains="dancing"))
    assert (len(whole), len(dancing), len({row.label for row in dancing})) == (30_000, 750, 15)
    assert len(read_annotations(AnnotationsConfig(path=str(folder / "kinetics-400_val.csv")))) == 19_906
    unlabelled = read_annotations(AnnotationsConfig(path=str(folder / "kinetics-600_test_head5000.csv")))
    assert [row.label for row in unlabelled] == [None] * 5000
    quoted = read_annotations(AnnotationsConfig(path=str(folder / "tiny-kinetics-400_train.csv")))
    assert len(quoted) == 400
    assert not any('"' in (row.label or '"') for row in quoted)
