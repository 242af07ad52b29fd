"""Labels are merged and selected as asked; what nearly fits, leaks or repeats is said."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED
from vidclf.annotations import AnnotationList, read_annotations
from vidclf.annotations._labels import near_misses
from vidclf.config import AnnotationsConfig, parse
from vidclf.errors import AnnotationError, ConfigError

HEADER = "label,youtube_id,time_start,time_end,split\n"
DANCES = ["tap dancing", "belly dancing", "breakdancing", "shoot dance", "Dancing ballet", "yoga", "lancing"]


def select(tmp_path: Path, lines: list[str], **options: Any) -> AnnotationList:
    path = tmp_path / "list.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return read_annotations(parse(AnnotationsConfig, {"path": str(path), **options}))


def select_dances(tmp_path: Path, **options: Any) -> AnnotationList:
    return select(tmp_path, [f"{label},{number},1,2,train" for number, label in enumerate(DANCES)], **options)


def labels_of(found: AnnotationList) -> list[str | None]:
    return list(found.rows["label"].to_pylist())


# Selecting labels


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, DANCES),
        ({"labels": ["yoga", "tap dancing"]}, ["tap dancing", "yoga"]),
        ({"label_contains": "dancing"}, ["tap dancing", "belly dancing", "breakdancing"]),
        ({"label_word": "dancing"}, ["tap dancing", "belly dancing"]),
        ({"label_pattern": "^(tap|belly) .*ing$|^yo"}, ["tap dancing", "belly dancing", "yoga"]),
        ({"label_pattern": "(?i)^dancing"}, ["Dancing ballet"]),
        ({"label_contains": "dancing", "limit": 2}, ["tap dancing", "belly dancing"]),
    ],
)
def test_labels_are_selected_in_the_lists_order(tmp_path: Path, options: dict[str, Any], expected: list[str]) -> None:
    assert labels_of(select_dances(tmp_path, **options)) == expected


def test_a_whole_word_may_stand_between_underscores_and_hyphens(tmp_path: Path) -> None:
    lines = ["brush_hair,a,1,2,train", "hair-cut,b,1,2,train", "chair,c,1,2,train", "c++ hair,d,1,2,train"]
    assert labels_of(select(tmp_path, lines, label_word="hair")) == ["brush_hair", "hair-cut", "c++ hair"]
    assert labels_of(select(tmp_path, lines, label_word="c++")) == ["c++ hair"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"labels": ["a"], "label_contains": "b"}, "labels and label_contains are both set; at most one of labels"),
        ({"label_word": "a", "label_pattern": "b"}, "label_word and label_pattern are both set"),
        ({"label_pattern": "("}, r"setting 'label_pattern' is '\(': no regular expression: missing \)"),
        ({"label_contains": ""}, "setting 'label_contains' is '': empty; leave it out"),
        ({"labels": []}, "setting 'labels' is .*: empty; leave it out"),
        ({"merge": {"x": ["a"], "y": "a"}}, "'a' cannot become both 'x' and 'y'"),
        ({"merge": {"x": ["a"], "y": ["x"]}}, "'x' becomes 'y', and others become it: merge them at once"),
        ({"merge": {"x": []}}, "'x': a label and at least one that becomes it are needed"),
        ({"split_shares": {"train": 0.8, "val": 0.1}}, r"the shares sum to 0\.9, not to 1"),
        ({"split_shares": {"train": 1.2, "val": -0.2}}, "less than or equal to 1"),
        ({"split_shares": {"train": float("nan")}}, "setting 'split_shares"),
        ({"split_shares": {"dev": 1.0}}, "'train', 'val' or 'test'"),
        ({"per_class": {"train": -1}}, "greater than or equal to 0"),
        ({"split_number": 4}, "less than or equal to 3"),
        ({"label_containing": "a"}, "setting 'label_containing' does not exist; there are: .*label_contains"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_read(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse(AnnotationsConfig, {"path": "nowhere.csv", **options})


# What nearly fits


def test_labels_that_nearly_fit_are_named_with_their_rows(tmp_path: Path) -> None:
    found = select_dances(tmp_path, label_contains="dancing")
    assert found.notices == (
        "label_contains 'dancing' leaves out labels that nearly fit: 'Dancing ballet' (1 row), 'shoot dance' (1 row)",
    )
    (notice,) = select_dances(tmp_path, label_word="dancing").notices
    assert "'Dancing ballet' (1 row), 'breakdancing' (1 row), 'shoot dance' (1 row)" in notice
    (notice,) = select_dances(tmp_path, label_pattern=r"\bdancing\b").notices
    assert "'shoot dance'" in notice
    assert select_dances(tmp_path, labels=["tap dancing"]).notices == ()


@pytest.mark.parametrize(
    ("wanted", "label", "is_near"),
    [
        ("dancing", "shoot dance", True),
        ("dancing", "dancer", True),
        ("dance", "tap dancing", True),
        ("running", "run", True),
        ("run", "trail running", True),
        ("run", "prune", False),
        ("golf swing", "Golf-Swing-Back", True),
        ("golf swing", "GolfSwing", True),
        ("tap dancing", "dance tap", True),
        ("tap dancing", "belly dancing", False),
        ("dancing", "lancing", False),
        ("dancing", "dangling", False),
        ("[a-z]+", "anything", False),
    ],
)
def test_a_label_is_near_by_the_stems_of_its_words(wanted: str, label: str, is_near: bool) -> None:
    assert near_misses(wanted, [label]) == ([label] if is_near else [])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"labels": ["tap dancin"]}, "no row has a label 'tap dancin' .closest: 'tap dancing'"),
        ({"labels": ["yoga", "yogga"]}, "no row has a label 'yogga' .closest: 'yoga'.*; there are: Dancing ballet, "),
        ({"label_contains": "dacning"}, "no row has a label that contains 'dacning' .closest: "),
        ({"label_contains": "swimming"}, "no row has a label that contains 'swimming'; there are: Dancing ballet, bel"),
        ({"label_word": "dance", "merge": {"dances": "shoot dance"}}, "no row has a label with the word 'dance'"),
        ({"label_pattern": "^x"}, r"no row has a label that matches '\^x'; there are"),
        ({"labels": ["yoga"], "merge": {"sport": "yoga"}}, "no row has a label 'yoga' .'yoga' was merged"),
    ],
)
def test_labels_that_no_row_has_are_an_error_with_the_closest(
    tmp_path: Path, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(AnnotationError, match=complaint):
        select_dances(tmp_path, **options)


def test_a_selection_says_how_many_rows_without_a_label_it_leaves_out(tmp_path: Path) -> None:
    found = select(tmp_path, ["yoga,a,1,2,train", ",b,1,2,train", ",c,1,2,train"], labels=["yoga"])
    assert found.notices == ("labels leaves out 2 rows without a label",)


@pytest.mark.skipif(not SHARED.exists(), reason="the real annotation files are not here")
def test_kinetics_700s_shoot_dance_nearly_fits_dancing() -> None:
    labels = (SHARED / "annotations" / "label_map_k700.txt").read_text().splitlines()
    assert sum("dancing" in label for label in labels) == 15
    assert near_misses("dancing", [label for label in labels if "dancing" not in label]) == ["shoot dance"]


# Merging labels


def test_labels_are_merged_before_they_are_selected(tmp_path: Path) -> None:
    merge = {"dance": ["tap dancing", "belly dancing", "shoot dance"], "yoga": "lancing"}
    found = select_dances(tmp_path, merge=merge, labels=["dance", "yoga"])
    assert labels_of(found) == ["dance", "dance", "dance", "yoga", "yoga"]
    assert found.rows["source_id"].to_pylist() == ["0", "1", "3", "5", "6"]


def test_a_label_to_merge_that_no_row_has_is_a_notice_and_an_error_where_none_is_there(tmp_path: Path) -> None:
    found = select_dances(tmp_path, merge={"dance": ["tap dancing", "shoot danse"]})
    assert found.notices == ("merge 'dance': no row has the label 'shoot danse' (closest: 'shoot dance')",)
    with pytest.raises(AnnotationError, match=r"merge 'dance': no row has a label 'tap-dance' .closest: 'tap dancing'"):
        select_dances(tmp_path, merge={"dance": ["tap-dance"], "yoga": "lancing"})


# Leaks, duplicates, conflicts


def test_a_source_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    lines = ["a,x,1,2,train", "a,y,1,2,train", "b,y,5,6,val", "a,z,1,2,val", "b,z,3,4,test", "b,z,5,6,val"]
    found = select(tmp_path, lines)
    assert found.notices == ("leak: 2 sources stand in more than one split, first 'y' in train and val",)
    assert select(tmp_path, lines, labels=["b"]).notices == (
        "leak: 1 source stands in more than one split, first 'z' in test and val",
    )
    assert len(found.rows) == 6


def test_a_group_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    for path in ("train/Archery/v_Archery_g01_c01.avi", "test/Archery/v_Archery_g01_c02.avi"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    (notice,) = read_annotations(AnnotationsConfig(path=str(tmp_path))).notices
    assert notice == "leak: 1 group stands in more than one split, first 'Archery_g01' in test and train"


def test_duplicates_and_conflicts_are_told_apart_and_stay(tmp_path: Path) -> None:
    lines = ["a,x,1,2,train", "a,y,1,2,train", "a,x,1.0,2,train", "b,y,1,2,train", ",y,1,2,train", "a,x,1,2.5,train"]
    found = select(tmp_path, lines)
    assert len(found.rows) == 6
    assert found.notices == (
        "duplicates: 1 row with an earlier row's clip, label and split, first 'x' from 1 to 2 s",
        "conflicts: 2 rows with an earlier row's clip, but another label or split, first 'y' from 1 to 2 s: "
        "'b' in train, and before 'a' in train; the first one counts",
    )


def test_rows_that_make_no_sense_are_counted(tmp_path: Path) -> None:
    found = select(tmp_path, ["a,x,1,2,train", "a,x,2,1,val", "a,x,2,1,val"])
    assert found.notices == ("nonsense: 2 rows of 3 will fail, first 'x': time_end 1 is not after time_start 2",)


# Samples per class


def sample(tmp_path: Path, numbers: range, **options: Any) -> AnnotationList:
    """Three classes, four training clips for one of validation, one row in ten without a label."""
    lines = [
        f"{'' if number % 10 == 9 else 'abc'[number % 3]},id-{number},0,10,{'val' if number % 5 == 4 else 'train'}"
        for number in numbers
    ]
    return select(tmp_path, lines, **options)


def test_clips_are_sampled_per_class_and_split_and_unlabelled_ones_stay(tmp_path: Path) -> None:
    rows = sample(tmp_path, range(300), per_class={"train": 20, "val": 5}).rows.to_pylist()
    counts = Counter((row["label"], row["split"]) for row in rows)
    assert counts == {
        **{(label, "train"): 20 for label in "abc"}, **{(label, "val"): 5 for label in "abc"}, (None, "val"): 30,
    }  # fmt: skip
    numbers = [int(row["source_id"].split("-")[1]) for row in rows]
    assert numbers == sorted(numbers)


def test_a_split_that_is_not_sampled_stays_whole_and_zero_takes_none(tmp_path: Path) -> None:
    rows = sample(tmp_path, range(300), per_class={"train": 0}).rows.to_pylist()
    assert Counter(row["split"] for row in rows) == {"val": 60}
    with pytest.raises(AnnotationError, match="per_class leaves nothing of 4 rows"):
        sample(tmp_path, range(4), per_class={"train": 0})


def test_a_sample_depends_on_seed_and_clip_and_not_on_order_or_company(tmp_path: Path) -> None:
    def ids(numbers: range, **options: Any) -> set[str]:
        found = sample(tmp_path, numbers, per_class={"train": 20, "val": 5}, **options)
        return set(found.rows.filter(found.rows["label"].is_valid())["source_id"].to_pylist())

    chosen = ids(range(300))
    assert ids(range(299, -1, -1)) == chosen
    assert ids(range(300), labels=["a", "b"]) < chosen
    assert len(chosen - ids(range(330))) <= 15
    assert len(chosen & ids(range(300), seed=1)) < 50
    smaller = sample(tmp_path, range(300), per_class={"train": 10, "val": 2}).rows
    assert set(smaller.filter(smaller["label"].is_valid())["source_id"].to_pylist()) < chosen


def test_rows_that_fail_or_repeat_take_no_place_in_a_sample(tmp_path: Path) -> None:
    lines = [f"a,bad-{number},9,1,train" for number in range(50)] + ["a,same,1,2,train"] * 50
    lines += [f"a,good-{number},1,2,train" for number in range(9)]
    random.Random(3).shuffle(lines)
    found = select(tmp_path, lines, per_class={"train": 10})
    assert sorted(found.rows["source_id"].to_pylist()) == [f"good-{number}" for number in range(9)] + ["same"]


def test_classes_that_are_too_small_for_a_sample_are_said(tmp_path: Path) -> None:
    lines = ["a,x,1,2,train", "a,y,1,2,train", "b,z,1,2,train", "c,u,1,2,train", "c,v,1,2,train"]
    (notice,) = select(tmp_path, lines, per_class={"train": 2}).notices
    assert notice == "per_class: 1 class has fewer than 2 clips in train: 'b' with 1"
    (notice,) = select(tmp_path, lines, per_class={"train": 3}).notices
    assert notice == "per_class: 3 classes have fewer than 3 clips in train, as 'b' with 1"
