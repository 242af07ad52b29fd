"""Lists without splits get them drawn: by class, whole groups, the same each time, and hardly moved by additions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vidclf.annotations import read_annotations
from vidclf.annotations._splits import quotas
from vidclf.config import AnnotationsConfig


def draw(tmp_path: Path, paths: list[str], **options: Any) -> dict[str, str]:
    """``label/video`` → split, of a list of paths in that order."""
    lines = [f"{path},{path.split('/')[0]}\n" for path in paths]
    (tmp_path / "list.csv").write_text("".join(lines))
    rows = read_annotations(AnnotationsConfig.model_validate({"path": str(tmp_path / "list.csv"), **options})).rows
    return dict(zip(rows["source_id"].to_pylist(), rows["split"].to_pylist(), strict=True))


def videos(label: str, number: int) -> list[str]:
    return [f"{label}/{label}-{position}.mp4" for position in range(number)]


def counts(splits: dict[str, str], label: str) -> dict[str, int]:
    return dict(Counter(split for path, split in splits.items() if path.startswith(f"{label}/")))


def test_every_class_has_its_shares(tmp_path: Path) -> None:
    splits = draw(tmp_path, videos("many", 200) + videos("ten", 10) + videos("six", 6) + videos("one", 1))
    assert counts(splits, "many") == {"train": 160, "val": 20, "test": 20}
    assert counts(splits, "ten") == {"train": 8, "val": 1, "test": 1}
    assert counts(splits, "six") == {"train": 4, "val": 1, "test": 1}
    assert counts(splits, "one") == {"train": 1}


@pytest.mark.parametrize(
    "shares",
    [
        {"train": 0.8, "val": 0.1, "test": 0.1},
        {"train": 0.5, "val": 0.5},
        {"train": 0.34, "val": 0.33, "test": 0.33},
        {"train": 0.1, "test": 0.9},
        {"train": 0.01, "val": 0.49, "test": 0.5},
        {"val": 0.5, "test": 0.5},
        {"train": 1.0, "val": 0.0},
        {"test": 1.0},
    ],
)
def test_quotas_make_a_whole_near_the_shares_with_one_for_train(shares: dict[Any, float]) -> None:
    for number in range(1, 300):
        taken = quotas(number, shares)
        assert sum(taken.values()) == number
        assert min(taken.values()) >= 0
        assert set(taken) == {split for split, share in shares.items() if share}
        if "train" in taken:
            assert taken["train"] >= 1
        if number >= 100:
            assert all(abs(taken[split] - number * shares[split]) <= 1.5 for split in taken)


def test_the_shares_and_the_seed_can_be_chosen(tmp_path: Path) -> None:
    paths = videos("a", 40)
    half = draw(tmp_path, paths, split_shares={"train": 0.5, "test": 0.5})
    assert counts(half, "a") == {"train": 20, "test": 20}
    other = draw(tmp_path, paths, split_shares={"train": 0.5, "test": 0.5}, seed=1)
    assert counts(other, "a") == {"train": 20, "test": 20}
    assert other != half


def test_order_selection_and_limit_move_no_video(tmp_path: Path) -> None:
    paths = videos("a", 50) + videos("b", 50)
    splits = draw(tmp_path, paths)
    assert draw(tmp_path, paths) == splits
    assert draw(tmp_path, paths[::-1]) == splits
    assert draw(tmp_path, paths, labels=["b"]).items() <= splits.items()
    assert draw(tmp_path, paths, limit=30).items() <= splits.items()
    assert draw(tmp_path, videos("b", 50)).items() <= splits.items()


def test_another_video_moves_at_most_three_of_its_class(tmp_path: Path) -> None:
    before, moved = draw(tmp_path, videos("a", 1) + videos("b", 9)), []
    for number in range(2, 60):
        after = draw(tmp_path, videos("a", number) + videos("b", 9))
        assert all(after[path] == split for path, split in before.items() if path.startswith("b/"))
        moved.append(sum(after[path] != split for path, split in before.items()))
        before = after
    assert max(moved) <= 3
    assert sum(moved) / len(moved) < 1


def test_a_group_is_never_torn(tmp_path: Path) -> None:
    paths = [
        f"{label}/v_{label}_g{group:02d}_c{clip:02d}.avi"
        for label in ("Archery", "Bowling")
        for group in range(1, 26)
        for clip in range(1, 5)
    ]
    splits = draw(tmp_path, paths)
    groups: dict[str, set[str]] = {}
    for path, split in splits.items():
        groups.setdefault(path.rsplit("_", 1)[0], set()).add(split)
    assert all(len(found) == 1 for found in groups.values())
    assert counts(splits, "Archery") == {"train": 19 * 4, "val": 3 * 4, "test": 3 * 4}


def test_a_video_with_two_labels_is_in_one_split(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(60)]
    (tmp_path / "list.csv").write_text("".join(f"{name},a\n{name},b\n" for name in names))
    found = read_annotations(AnnotationsConfig(path=str(tmp_path / "list.csv")))
    assert not any(notice.startswith("leak") for notice in found.notices)
    assert Counter(found.rows["split"].to_pylist()) == {"train": 96, "val": 12, "test": 12}


def test_a_group_counts_for_the_class_that_most_of_its_clips_have(tmp_path: Path) -> None:
    """Ten groups of one class, each with a clip of a class of its own, which alone would put it into train."""
    lines = []
    for group in range(10):
        clips = [f"v_Archery_g{group:02d}_c{clip:02d}.avi" for clip in range(4)]
        lines += [f"{clips[0]},A lone {group}\n", *(f"{clip},Archery\n" for clip in clips[1:])]
    (tmp_path / "list.csv").write_text("".join(lines))
    rows = read_annotations(AnnotationsConfig(path=str(tmp_path / "list.csv"))).rows
    split_of = dict(zip(rows["group"].to_pylist(), rows["split"].to_pylist(), strict=True))
    assert Counter(split_of.values()) == {"train": 8, "val": 1, "test": 1}


def test_class_folders_are_divided_the_same_way_each_time(tmp_path: Path) -> None:
    for number in range(200):
        path = tmp_path / "videos" / "kicking" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def splits() -> dict[str, str]:
        rows = read_annotations(AnnotationsConfig(path=str(tmp_path / "videos"))).rows
        return dict(zip(rows["source_id"].to_pylist(), rows["split"].to_pylist(), strict=True))

    first = splits()
    assert Counter(first.values()) == {"train": 160, "val": 20, "test": 20}
    (tmp_path / "videos" / "kicking" / "100.mp4").unlink()
    assert sum(first[path] != split for path, split in splits().items()) <= 3


def test_shares_that_are_not_needed_are_said_to_be_unused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a.mp4 x\nb.mp4 x\n")
    settings = {"path": str(tmp_path / "train.csv"), "split_shares": {"train": 0.5, "val": 0.5}}
    found = read_annotations(AnnotationsConfig.model_validate(settings))
    assert found.notices == ("split_shares was not used: the list has splits of its own",)
    assert set(found.rows["split"].to_pylist()) == {"train"}


def test_samples_are_taken_from_drawn_splits(tmp_path: Path) -> None:
    splits = draw(tmp_path, videos("a", 100) + videos("b", 100), per_class={"train": 10, "val": 4, "test": 2})
    assert counts(splits, "a") == counts(splits, "b") == {"train": 10, "val": 4, "test": 2}
