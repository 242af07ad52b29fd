"""Annotation lists are told by their looks and read whole; what makes no sense is kept, with its reason."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED
from vidclf.annotations import AnnotationList, read_annotations
from vidclf.clips import ANNOTATIONS
from vidclf.config import AnnotationsConfig
from vidclf.errors import AnnotationError, ConfigError

HEADER = "label,youtube_id,time_start,time_end,split\n"

UCF_SPORTS = {
    "Diving-Side": 14, "Golf-Swing-Back": 5, "Golf-Swing-Front": 8, "Golf-Swing-Side": 5, "Kicking-Front": 10,
    "Kicking-Side": 10, "Lifting": 6, "Riding-Horse": 12, "Run-Side": 13, "SkateBoarding-Front": 12,
    "Swing-Bench": 20, "Swing-SideAngle": 13, "Walk-Front": 22,
}  # fmt: skip


def read(path: Path, **options: Any) -> AnnotationList:
    """The list, which is of the promised form whatever was in it."""
    found = read_annotations(AnnotationsConfig.model_validate({"path": str(path), **options}))
    assert found.rows.schema == ANNOTATIONS
    found.rows.validate(full=True)
    assert set(found.rows["split"].to_pylist()) <= {"train", "val", "test"}
    assert found.rows["source_id"].null_count == 0
    assert "" not in found.rows["source_id"].to_pylist()
    assert all("\n" not in notice for notice in found.notices)
    return found


def rows_of(path: Path, text: str | bytes, **options: Any) -> list[dict[str, Any]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read(path, **options).rows.to_pylist())


def column(rows: Iterable[dict[str, Any]], *names: str) -> list[Any]:
    return [tuple(row[name] for name in names) if len(names) > 1 else row[names[0]] for row in rows]


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


# Kinetics CSV


def test_a_kinetics_row_becomes_an_annotation(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path / "list.csv", HEADER + '"tap dancing",-abcdefghij,5,15,validate\n')
    assert row == {
        "source_id": "-abcdefghij", "label": "tap dancing", "split": "val", "group": None,
        "time_start": 5.0, "time_end": 15.0, "problem": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbflabel,youtube_id,time_start,time_end,split\r\ntap dancing,abc,5,15,val\r\n",
        b"split,time_end,time_start,youtube_id,label\nval,15,5,abc,tap dancing",
        b'label,youtube_id,time_start,time_end,split,is_cc\n"tap dancing",abc,5,15,val,0\n',
        b" Label , YouTube_ID,time_start, time_end,split\n\n tap dancing , abc ,5.0,1.5e1, VALIDATION \n\n",
        b"label,youtube_id,time_start,time_end,split\ntap dancing,abc,5,15,val,,\n",
    ],
    ids=["byte order mark", "other order", "is_cc and quotes", "space, capitals and blank lines", "commas at the end"],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_kinetics_files_differ_in_form_and_not_in_meaning(tmp_path: Path, text: bytes, compressed: bool) -> None:
    name, data = ("list.csv.gz", gzip.compress(text)) if compressed else ("list.csv", text)
    (row,) = rows_of(tmp_path / name, data)
    assert column([row], "label", "source_id", "time_start", "time_end", "split", "problem") == [
        ("tap dancing", "abc", 5.0, 15.0, "val", None)
    ]


def test_a_list_without_labels_is_read_as_unlabelled(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "list.csv", "youtube_id,time_start,time_end,split\nabc,1,2,test\n")
    assert column(rows, "label", "problem") == [(None, None)]


def test_a_folder_of_kinetics_files_is_one_list(tmp_path: Path) -> None:
    rows = {"train": "a,x,1,2,train\n", "validate": "a,y,1,2,validate\n"}
    folder = write(tmp_path / "k700", {f"{split}.csv": HEADER + text for split, text in rows.items()})
    write(folder, {"test.csv": "youtube_id,time_start,time_end,split\nz,1,2,test\n", "readme.txt": "Kinetics\n"})
    assert column(read(folder).rows.to_pylist(), "source_id", "label", "split") == [
        ("z", None, "test"), ("x", "a", "train"), ("y", "a", "val"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ("a,x,5,3,train", "time_end 3 is not after time_start 5"),
        ("a,x,5,5,train", "time_end 5 is not after time_start 5"),
        ("a,x,one,two,train", "times 'one' to 'two' are no seconds"),
        ("a,x,nan,2,train", "times 'nan' to '2' are no seconds"),
        ("a,x,1,inf,train", "times '1' to 'inf' are no seconds"),
        ("a,x,-1,2,train", "times '-1' to '2' are no seconds"),
        ("a,x,1,1e9,train", "times '1' to '1e9' are no seconds"),
        ("a,x,1,1e999,train", "times '1' to '1e999' are no seconds"),
        ("a,x,1_0,2_0,train", "times '1_0' to '2_0' are no seconds"),
        ("a,x,,,train", "times '' to '' are no seconds"),
        ("a,,1,2,train", "no youtube_id"),
        ("a,  ,1,2,train", "no youtube_id"),
        ("a,y,1,2,trian", "split 'trian' is none of train, validate, test"),
        ("a,y,1,2,", "split '' is none of train, validate, test"),
        ("a,y\x00z,1,2,train", r"youtube_id 'y\x00z' has control characters"),
        ("a\x1b[31m,y,1,2,train", r"label 'a\x1b[31m' has control characters"),
        ("a,y,1", "3 cells, where the header has 5"),
        ("a,y,1,2,train,extra", "6 cells, where the header has 5"),
        ("a," + "y" * 2000 + ",1,2,train", "youtube_id has 2,000 characters, more than 1,000"),
        ("a," + "y" * 1_000_000 + ",1,2,train", "a line of more than 65,536 characters"),
        (
            "a,,3,1,no",
            "no youtube_id; split 'no' is none of train, validate, test; time_end 1 is not after time_start 3",
        ),
        ('"a,y,1,2,train', "1 cells, where the header has 5"),
    ],
)
def test_a_row_that_makes_no_sense_is_kept_with_a_reason_and_spoils_no_other(
    tmp_path: Path, cells: str, problem: str
) -> None:
    good = "tap dancing,abc,5,15,val\n"
    rows = rows_of(tmp_path / "list.csv", HEADER + good + cells + "\n" + good + '"quoted, comma",def,1,2,test\n')
    assert column(rows, "source_id", "problem")[::2] == [("abc", None), ("abc", None)]
    assert column(rows, "label", "source_id", "problem")[3] == ("quoted, comma", "def", None)
    assert rows[1]["problem"] == problem
    assert rows[1]["split"] == "train"


def test_bytes_that_are_no_utf_8_cost_their_own_row_alone(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "list.csv", HEADER.encode() + b"a,x,1,2,train\n\xff\xfe,y,1,2,train\nb,\xe4,1,2,val\n")
    assert column(rows, "label", "problem") == [
        ("a", None), (None, "label '\ufffd\ufffd' is not UTF-8"), ("b", "youtube_id '\ufffd' is not UTF-8"),
    ]  # fmt: skip


def test_no_garbage_in_a_file_ends_the_reading(tmp_path: Path) -> None:
    """Lines of random bytes, cells, quotes: as many rows as there are lines, and the good ones as they are."""
    dice = random.Random(7)
    pieces = [
        b"a",
        b",",
        b",",
        b'"',
        b'""',
        b"\x00",
        b"\xff",
        "é".encode(),
        b"1",
        b"-1",
        b"1e5",
        b"nan",
        b"train",
        b" ",
        b"\t",
    ]
    for _ in range(40):
        lines = [b"".join(dice.choices(pieces, k=dice.randrange(1, 30))) for _ in range(200)]
        lines = [line if line.strip() else b"," for line in lines]
        lines[::10] = [b"yoga,good,1,2,test"] * 20
        rows = rows_of(tmp_path / "list.csv", HEADER.encode() + b"\n".join(lines))
        assert len(rows) == len(lines)
        assert column(rows[::10], "source_id", "label", "split", "problem") == [("good", "yoga", "test", None)] * 20
        for row in rows:
            if row["problem"] is None:
                assert 0 <= row["time_start"] < row["time_end"] < 1e6


def test_missing_columns_are_named(tmp_path: Path) -> None:
    complaint = r"columns time_start, split missing; .* and this one label,youtube_id,time_end"
    with pytest.raises(AnnotationError, match=complaint):
        rows_of(tmp_path / "list.csv", "label,youtube_id,time_end\na,b,1\n")
    with pytest.raises(AnnotationError, match="columns youtube_id, time_start, time_end, split missing"):
        rows_of(tmp_path / "list.csv", "label,video\na,b\n")


# What is no list


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("list.csv", b"", "it is empty"),
        ("list.csv", b"foo,bar\n1,2\n", "Kinetics CSV: label, youtube_id.* begins with 'foo,bar'"),
        ("list.csv", HEADER.encode(), "no row below the header"),
        ("list.csv", bytes(range(256)) * 300, "in no known layout"),
        ("list.csv.gz", b"not gzip", "in no known layout"),
        ("list.csv.gz", gzip.compress(HEADER.encode() * 9, mtime=0)[:-12], "damaged gzip"),
        ("list.toml", b"[a]\nb = 1\n", r"in no known layout .* begins with '\[a\]'"),
        ("list.json", b"{}", "there is no entry"),
        ("list.json", b"[1, 2]", "in no known layout"),
        ("list.json", b'{"a": {"subset": "train"}, "b": {', "not a JSON object of entries by id"),
        ("list.json", b'{"a": {"subset": "train"}} 5', "Extra data"),
        ("list.json", b'{"a": {"b": ' + b"[" * 100_000, "not a JSON object"),
    ],
)
def test_a_file_that_is_no_list_says_what_it_is_instead(tmp_path: Path, name: str, data: bytes, complaint: str) -> None:
    with pytest.raises(AnnotationError, match=complaint):
        rows_of(tmp_path / name, data)


def test_a_list_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such file or folder"):
        read(tmp_path / "none.csv")


def test_a_folder_without_videos_or_lists_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no video in split/class/video or class/video"):
        read(touch(tmp_path / "folder", "a/readme.md", "video.mp4", "b/.hidden.mp4"))


# Kinetics JSON


@pytest.mark.parametrize("name", ["list.json", "list.json.gz"])
def test_kinetics_json_is_read(tmp_path: Path, name: str) -> None:
    entries = {
        "---abc": {"annotations": {"label": "tap dancing", "segment": [84.0, 94.0]}, "duration": 10.0,
                   "subset": "validate", "url": "https://www.youtube.com/watch?v=---abc"},
        "def": {"duration": 10.0, "subset": "test", "url": "x"},
        "ghi": {"annotations": {"segment": [1, 2]}, "subset": "testing"},
    }  # fmt: skip
    text = json.dumps(entries, indent=2).encode()
    rows = rows_of(tmp_path / name, gzip.compress(text) if name.endswith("gz") else text)
    assert column(rows, "source_id", "label", "time_start", "time_end", "split", "problem") == [
        ("---abc", "tap dancing", 84.0, 94.0, "val", None),
        ("def", None, None, None, "test", None),
        ("ghi", None, 1.0, 2.0, "test", None),
    ]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            '{"annotations": {"label": "a", "segment": [NaN, 5]}, "subset": "train"}',
            "times 'nan' to '5.0' are no seconds",
        ),
        (
            '{"annotations": {"label": "a", "segment": [9, 5]}, "subset": "train"}',
            "time_end 5 is not after time_start 9",
        ),
        (
            f'{{"annotations": {{"segment": [0, {"9" * 5000}]}}, "subset": "train"}}',
            "times '0.0' to 'inf' are no seconds",
        ),
        ('{"annotations": {"segment": [1]}, "subset": "train"}', "segment '[1.0]' is no [start, end]"),
        ('{"annotations": {"segment": [null, true]}, "subset": "train"}', "times 'None' to 'True' are no seconds"),
        ('{"annotations": {"label": 5}, "subset": "train"}', "label '5.0' is no text"),
        ('{"annotations": [1], "subset": "train"}', "annotations are no object, but '[1.0]'"),
        ('{"annotations": {"label": "\\ud800"}, "subset": "train"}', "label '\ufffd' is not UTF-8"),
        ("{}", "split '' is none of train, validate, test"),
        ("17", "the entry is no object, but '17.0'"),
    ],
)
def test_an_entry_that_makes_no_sense_is_kept_with_a_reason(tmp_path: Path, entry: str, problem: str) -> None:
    good = '"good": {"annotations": {"label": "yoga", "segment": [0, 10]}, "subset": "train"}'
    rows = rows_of(tmp_path / "list.json", f'{{{good}, "bad": {entry}, {good}}}')
    assert column(rows, "source_id", "problem") == [("good", None), ("bad", problem), ("good", None)]


# Class folders


def test_class_folders_with_splits(tmp_path: Path) -> None:
    paths = ("train/kicking/a.mp4", "Validation/running/b c.AVI", "test/kicking/deep/er/d.webm", "test/unlabelled.mp4")
    rows = read(touch(tmp_path / "videos", *paths, "train/kicking/notes.txt", "train/._a.mp4")).rows.to_pylist()
    assert column(rows, "source_id", "label", "split", "time_start", "problem") == [
        ("Validation/running/b c.AVI", "running", "val", None, None),
        ("test/kicking/deep/er/d.webm", "kicking", "test", None, None),
        ("test/unlabelled.mp4", None, "test", None, None),
        ("train/kicking/a.mp4", "kicking", "train", None, None),
    ]


def test_a_tree_of_ucf_sports_form_is_read_by_class_and_merged(tmp_path: Path) -> None:
    root = tmp_path / "ucf_action"
    for label, number in UCF_SPORTS.items():
        for clip in range(1, number + 1):
            touch(root, f"{label}/{clip:03d}/{label[:3]}-{clip}_70{clip:03d}.avi", f"{label}/{clip:03d}/gt/{clip}.txt")
    merge = {
        "Golf Swing": ["Golf-Swing-Back", "Golf-Swing-Front", "Golf-Swing-Side"],
        "Kicking": ["Kicking-Front", "Kicking-Side"],
    }
    found = read(root, merge=merge)
    rows = found.rows.to_pylist()
    assert found.notices == ()
    assert len(rows) == 150
    assert len({row["label"] for row in rows}) == 10
    assert sum(row["label"] == "Golf Swing" for row in rows) == 18
    assert sum(row["label"] == "Kicking" for row in rows) == 20
    assert column(rows, "source_id", "label")[0] == ("Diving-Side/001/Div-1_70001.avi", "Diving-Side")
    assert set(column(rows, "group", "problem")) == {(None, None)}
    for split in ("train", "val", "test"):
        assert len({row["label"] for row in rows if row["split"] == split}) == 10


def test_a_folder_of_several_videos_below_a_class_is_a_group(tmp_path: Path) -> None:
    paths = ("walk/anna/1.mp4", "walk/anna/2.mp4", "walk/ben/1.mp4", "run/all/1.mp4", "run/all/2.mp4")
    rows = read(touch(tmp_path / "videos", *paths)).rows.to_pylist()
    assert dict(column(rows, "source_id", "group")) == {
        "walk/anna/1.mp4": "walk/anna", "walk/anna/2.mp4": "walk/anna", "walk/ben/1.mp4": None,
        "run/all/1.mp4": None, "run/all/2.mp4": None,
    }  # fmt: skip


def test_class_folders_of_ucf101_and_hmdb51_are_grouped_by_their_names(tmp_path: Path) -> None:
    paths = {
        "Basketball/v_Basketball_g08_c01.avi": "Basketball_g08",
        "brush_hair/#April_09_brush_hair_u_nm_np1_ba_goo_0.avi": "#April_09_brush_hair",
        "brush_hair/other.avi": None,
    }
    rows = read(touch(tmp_path / "videos", *paths)).rows.to_pylist()
    assert dict(column(rows, "source_id", "group")) == paths


@pytest.mark.parametrize(
    ("paths", "notice"),
    [
        (
            ("train/a/1.mp4", "val/a/2.mp4", "extra/b/3.mp4"),
            "folders 'train', 'val' are named as splits, but 'extra' is not",
        ),
        (("UCF-101/Archery/1.avi", "UCF-101/Bowling/2.avi"), "'UCF-101' is the only class; if it holds the classes"),
        (("a/1.mp4", "b/1.mp4", "intro.mp4"), "left out: 1 video in no class's folder, first 'intro.mp4'"),
    ],
)
def test_a_tree_that_can_be_misread_is_spoken_of(tmp_path: Path, paths: tuple[str, ...], notice: str) -> None:
    assert any(notice in said for said in read(touch(tmp_path / "videos", *paths)).notices)


def test_linked_folders_and_videos_are_found_and_a_link_in_a_circle_is_not_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "walk/1.mp4", "2.mp4")
    folder = touch(tmp_path / "videos", "run/1.mp4")
    (folder / "walk").symlink_to(tmp_path / "elsewhere" / "walk")
    (folder / "run" / "2.mp4").symlink_to(tmp_path / "elsewhere" / "2.mp4")
    (folder / "run" / "again").symlink_to(folder)
    assert column(read(folder).rows.to_pylist(), "source_id") == ["run/1.mp4", "run/2.mp4", "walk/1.mp4"]


def test_file_names_that_are_no_unicode_or_begin_with_space_are_rows(tmp_path: Path) -> None:
    folder = touch(tmp_path / "videos", "a/good.mp4", " b/ 1.mp4")
    (folder / "a" / b"\xff.mp4".decode(errors="surrogateescape")).touch()
    rows = read(folder).rows.to_pylist()
    assert column(rows, "source_id", "problem") == [
        (" b/ 1.mp4", None), ("a/good.mp4", None), ("a/\ufffd.mp4", "path 'a/\ufffd.mp4' is not UTF-8"),
    ]  # fmt: skip


# Lists of paths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b.mp4 0\nc.mp4 12\n", [("a/b.mp4", "0"), ("c.mp4", "12")]),
        ("my videos/b c.mp4 3\nx, y.avi   4\n", [("my videos/b c.mp4", "3"), ("x, y.avi", "4")]),
        ("my videos/b c.mp4,Golf Swing\nx, y.avi,tap\n", [("my videos/b c.mp4", "Golf Swing"), ("x, y.avi", "tap")]),
        ("path,label\na.mp4,tap dancing\n", [("a.mp4", "tap dancing")]),
        ('"x, y.mp4","clap, slow"\nb.mp4,c\n', [("x, y.mp4", "clap, slow"), ("b.mp4", "c")]),
        ("a b.mkv\ttap dancing\n", [("a b.mkv", "tap dancing")]),
        ("frames/a b 7\nframes/c 8\n", [("frames/a b", "7"), ("frames/c", "8")]),
    ],
)
def test_a_list_of_paths_splits_at_its_last_separator(
    tmp_path: Path, text: str, expected: list[tuple[str, str]]
) -> None:
    rows = rows_of(tmp_path / "list.csv", text)
    assert column(rows, "source_id", "label") == expected
    assert {(row["problem"], row["time_start"]) for row in rows} == {(None, None)}


def test_a_line_of_a_path_list_that_makes_no_sense_is_kept_with_a_reason(tmp_path: Path) -> None:
    good = "a.mp4 yoga\n"
    rows = rows_of(
        tmp_path / "list.txt", good * 3 + "b.mp4\nmy c.mp4\nd\x00.mp4 yoga\n" + "x" * 1_000_000 + "\n" + good
    )
    assert column(rows, "problem") == [
        None, None, None, "no label behind the path", "no label behind the path",
        r"path 'd\x00.mp4' has control characters", "a line of more than 65,536 characters", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("classes.txt", "abseiling\ntap dancing\n"),
        ("class_names.txt", "0 abseiling\n1 tap dancing\n"),
        ("labels.txt", "1,tap dancing\n0,abseiling\n"),
    ],
)
def test_numbers_become_the_classes_of_the_file_beside_the_list(tmp_path: Path, name: str, classes: str) -> None:
    write(tmp_path / "lists", {name: classes})
    rows = rows_of(tmp_path / "lists" / "list.csv", "a.mp4 1\nb.mp4 0\nc.mp4 7\n")
    assert column(rows, "label", "problem") == [
        ("tap dancing", None), ("abseiling", None), ("7", f"label '7' is no class of {name}"),
    ]  # fmt: skip


def test_a_folder_of_split_lists_is_one_list(tmp_path: Path) -> None:
    files = {"train.csv": "x/a.mp4 0\nx/b.mp4 1\n", "val.csv": "x/c.mp4 1\n", "test.csv": "x/d.mp4 0\n"}
    folder = touch(write(tmp_path / "lists", {**files, "classes.txt": "yoga\ntap\n"}), "train/yoga/x.mp4")
    assert column(read(folder).rows.to_pylist(), "source_id", "label", "split") == [
        ("x/d.mp4", "yoga", "test"), ("x/a.mp4", "yoga", "train"), ("x/b.mp4", "tap", "train"), ("x/c.mp4", "tap", "val"),
    ]  # fmt: skip
    assert column(read(folder / "val.csv").rows.to_pylist(), "source_id", "split") == [("x/c.mp4", "val")]


# Official split files


@pytest.fixture
def ucf101(tmp_path: Path) -> Path:
    files = {"classInd.txt": "1 ApplyEyeMakeup\n2 Archery\n"}
    for number in (1, 2, 3):
        first = f"ApplyEyeMakeup/v_ApplyEyeMakeup_g0{number}_c01.avi 1\nArchery/v_Archery_g0{number}_c07.avi 2\n"
        files[f"trainlist0{number}.txt"] = first.replace("\n", "\r\n")
        files[f"testlist0{number}.txt"] = f"Archery/v_Archery_g2{number}_c01.avi\n"
    return write(tmp_path / "ucfTrainTestlist", files)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_ucf101s_official_splits(ucf101: Path, number: int) -> None:
    rows = read(ucf101, split_number=number).rows.to_pylist()
    makeup, archery = "ApplyEyeMakeup", "Archery"
    assert column(rows, "source_id", "label", "split", "group", "problem") == [
        (f"{makeup}/v_{makeup}_g0{number}_c01.avi", makeup, "train", f"{makeup}_g0{number}", None),
        (f"{archery}/v_{archery}_g0{number}_c07.avi", archery, "train", f"{archery}_g0{number}", None),
        (f"{archery}/v_{archery}_g2{number}_c01.avi", archery, "test", f"{archery}_g2{number}", None),
    ]


def test_a_number_that_is_another_class_is_a_problem(ucf101: Path) -> None:
    (ucf101 / "trainlist01.txt").write_text("Archery/v_Archery_g01_c01.avi 1\nv_Archery_g01_c02.avi 2\n")
    assert column(read(ucf101).rows.to_pylist(), "problem")[:2] == [
        "class 1 is 'ApplyEyeMakeup' in classInd.txt, and not 'Archery'",
        "'v_Archery_g01_c02.avi' is no class/video",
    ]


def test_one_list_of_ucf101_is_a_list_of_paths(ucf101: Path) -> None:
    rows = read(ucf101 / "trainlist01.txt").rows.to_pylist()
    assert column(rows, "label") == ["ApplyEyeMakeup", "Archery"]


@pytest.fixture
def hmdb51(tmp_path: Path) -> Path:
    files = {}
    for label in ("brush_hair", "wave"):
        for number in (1, 2):
            parts = "120" if number == 1 else "201"
            names = [f"#Film_{i}_{label}_u_nm_np1_ba_goo_{i}.avi" for i in range(3)]
            lines = [f"{name} {part} \n" for name, part in zip(names, parts, strict=True)]
            files[f"{label}_test_split{number}.txt"] = "".join(lines)
    return write(tmp_path / "testTrainMulti_7030_splits", files)


def test_hmdb51s_official_splits(hmdb51: Path) -> None:
    found = read(hmdb51)
    assert column(found.rows.to_pylist(), "source_id", "label", "split", "group", "problem") == [
        (f"{label}/#Film_{i}_{label}_u_nm_np1_ba_goo_{i}.avi", label, split, f"#Film_{i}_{label}", None)
        for label in ("brush_hair", "wave")
        for i, split in enumerate(("train", "test"))
    ]
    assert found.notices == ("left out: 2 videos in neither part of HMDB51's split 1",)
    assert column(read(hmdb51, split_number=2).rows.to_pylist(), "split") == ["test", "train"] * 2


def test_a_line_without_a_part_is_a_problem(hmdb51: Path) -> None:
    (hmdb51 / "wave_test_split1.txt").write_text("a b.avi 1\nb.avi\nc.avi 5\n")
    assert column(read(hmdb51, labels=["wave"]).rows.to_pylist(), "source_id", "problem") == [
        ("wave/a b.avi", None),
        ("wave/b.avi", "'b.avi' does not end in 0, 1 or 2"),
        ("wave/c.avi", "'c.avi 5' does not end in 0, 1 or 2"),
    ]


def test_a_split_that_is_not_there_names_those_that_are(hmdb51: Path, ucf101: Path) -> None:
    with pytest.raises(AnnotationError, match="no lists of split 3; there are: 1, 2"):
        read(hmdb51, split_number=3)
    (ucf101 / "trainlist02.txt").unlink()
    (ucf101 / "testlist02.txt").unlink()
    with pytest.raises(AnnotationError, match="no lists of split 2; there are: 1, 3"):
        read(ucf101, split_number=2)


# Which layout


def test_a_layout_can_be_forced(ucf101: Path) -> None:
    touch(ucf101, "Archery/v.avi")
    assert column(read(ucf101, layout="class_folders").rows.to_pylist(), "source_id") == ["Archery/v.avi"]
    with pytest.raises(ConfigError, match=r"layout 'csv' is unknown; there are: class_folders, hmdb51, kinetics_csv"):
        read(ucf101, layout="csv")


@pytest.mark.parametrize("layout", ["class_folders", "hmdb51", "kinetics_csv", "kinetics_json", "path_list", "ucf101"])
@pytest.mark.parametrize("kind", ["folder", "file", "empty"])
def test_a_forced_layout_that_does_not_fit_is_an_annotation_error(tmp_path: Path, layout: str, kind: str) -> None:
    path = tmp_path / "list"
    path.mkdir() if kind == "folder" else path.write_bytes(b"\x00\xff\n" if kind == "file" else b"")
    with pytest.raises(AnnotationError):
        read(path, layout=layout)


def test_a_list_that_fits_two_layouts_asks_which(hmdb51: Path) -> None:
    write(hmdb51, {"trainlist01.txt": "a/b.avi 1\n"})
    with pytest.raises(AnnotationError, match=r"fits several layouts; say which by annotations.layout: hmdb51, ucf101"):
        read(hmdb51)


def test_an_option_of_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"split_number is set, but .* layout kinetics_csv, without it"):
        rows_of(tmp_path / "list.csv", HEADER + "a,x,1,2,train\n", split_number=2)


# The real files, and their size


@pytest.mark.skipif(not SHARED.exists(), reason="the real annotation files are not here")
def test_real_annotation_files_have_the_right_counts() -> None:
    folder = SHARED / "annotations"
    whole = read(folder / "kinetics-600_val.csv")
    assert len(whole.rows) == 30_000
    assert whole.rows["problem"].null_count == 30_000
    dancing = read(folder / "kinetics-600_val.csv", label_contains="dancing")
    assert (len(dancing.rows), len(dancing.rows["label"].unique())) == (750, 15)
    k400 = read(folder / "kinetics-400_val.csv").rows
    assert (len(k400), k400["problem"].null_count) == (19_906, 19_906)
    unlabelled = read(folder / "kinetics-600_test_head5000.csv").rows
    assert (len(unlabelled), unlabelled["label"].null_count, unlabelled["problem"].null_count) == (5000, 5000, 5000)
    quoted = read(folder / "tiny-kinetics-400_train.csv").rows
    assert len(quoted) == 400
    assert not any('"' in (label or '"') for label in quoted["label"].to_pylist())


@pytest.mark.thorough
def test_a_list_of_kinetics_700_2020s_size_is_read_in_little_memory(tmp_path: Path) -> None:
    """644,000 rows: the process stays under 600 MB, of which 100 are its imports. Time is not judged here."""
    path = tmp_path / "list.csv"
    with path.open("w") as file:
        file.write(HEADER)
        for row in range(644_000):
            file.write(
                f"label {row % 700},id-{row:08d},{row % 600},{row % 600 + 10},{'train' if row % 10 else 'val'}\n"
            )
    code = (
        "import pathlib, sys; from vidclf.annotations import read_annotations; from vidclf.config import *\n"
        "config = AnnotationsConfig(path=sys.argv[1], label_contains='1', per_class={'train': 100})\n"
        "rows = read_annotations(config).rows\n"
        "status = pathlib.Path('/proc/self/status').read_text()  # getrusage counts the tests' own process too\n"
        "print(len(rows), status.split('VmHWM:')[1].split()[0])"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    rows, kilobytes = map(int, said.stdout.split())
    assert rows > 10_000
    assert kilobytes < 600_000
