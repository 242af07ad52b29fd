"""From the ledger to the manifest: each annotation has one row that says what became of it, and what is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vidclf.clips import ANNOTATIONS, MANIFEST
from vidclf.ledger import Entry, LedgerWriter, scan
from vidclf.manifest import manifest, standing, variants_wanted, varied
from vidclf.plan import Plan, make_plan
from vidclf.recipes import Recipes
from vidclf.storage import Store

RECIPES = Recipes("d", "c", "f", "a")
INFO: dict[str, Any] = {
    "sha256": "s",
    "bytes": 5,
    "width": 4,
    "height": 3,
    "fps": 25.0,
    "duration": 2.0,
    "num_frames": 50,
}


def plan_of(*names: str, **columns: Any) -> Plan:
    rows = [{"source_id": name, "label": "a", "split": "train", **columns} for name in names]
    return make_plan(pa.Table.from_pylist(rows, schema=ANNOTATIONS), 4)


class Accounts:
    """Writes what a run would have written."""

    def __init__(self, store: Store, plan: Plan):
        self.store, self.plan = store, plan
        self.shards = dict(zip(plan.rows["clip_id"].to_pylist(), plan.rows["shard"].to_pylist(), strict=True))

    def add(self, stage: str, clip: str, recipe: str, **fields: Any) -> None:
        with LedgerWriter(self.store, stage, self.shards[clip], "run") as ledger:
            ledger.append(Entry(clip, stage, recipe, **fields))

    def failed(self, stage: str, clip: str, kind: str, recipe: str) -> None:
        self.add(stage, clip, recipe, outcome="failed", error_kind=kind, error_message=f"{kind}!")

    def ok(self, clip: str) -> None:
        self.add("download", clip, "d", path=f"sources/{clip}.mp4")
        self.add("transcode", clip, "c", path=f"clips/c/{clip}.mp4", **INFO)
        self.add("frames", clip, "f", path="frames/f/p.parquet", row=7)


def rows_of(store: Store, plan: Plan, shares: dict[str, int] | None = None) -> dict[str, dict[str, Any]]:
    table = manifest(standing(store, plan, RECIPES), ["a"], shares or {}, scan(store, "augment", "a"))
    assert table.schema == MANIFEST
    return {row["annotation_id"]: row for row in table.to_pylist()}


def test_every_annotation_has_one_row_whatever_became_of_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = plan_of("good", "good", "gone", "broken", "dark", "never")
    accounts = Accounts(store, plan)
    accounts.ok("good")
    accounts.failed("download", "gone", "gone", "d")
    accounts.add("download", "broken", "d", path="p")
    accounts.failed("transcode", "broken", "unreadable", "c")
    accounts.ok("dark")
    accounts.failed("frames", "dark", "crashed", "f")
    rows = rows_of(store, plan)
    assert {name: (row["status"], row["error_kind"]) for name, row in rows.items()} == {
        "good": ("ok", None),
        "good.2": ("ok", None),
        "gone": ("failed", "gone"),
        "broken": ("failed", "unreadable"),
        "dark": ("failed", "crashed"),
        "never": ("failed", "not_done"),
    }
    assert rows["gone"]["error_message"] == "gone!"
    good = rows["good.2"]
    assert (good["clip_path"], good["frames_row"], good["label_id"], good["num_variants"]) == (
        "clips/c/good.mp4",
        7,
        0,
        0,
    )
    assert {name: good[name] for name in INFO} == INFO
    assert rows["dark"]["clip_path"] is None


def test_an_annotation_that_makes_no_sense_and_one_without_a_label_are_rows_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    nonsense = plan_of("x", problem="time_end 3 is not after time_start 5")
    (row,) = rows_of(store, nonsense).values()
    assert (row["status"], row["error_kind"], row["error_message"]) == (
        "failed", "annotation", "time_end 3 is not after time_start 5",
    )  # fmt: skip
    assert standing(store, nonsense, RECIPES).open_shards() == []
    unlabelled = plan_of("y", label=None)
    Accounts(store, unlabelled).ok("y")
    (row,) = rows_of(store, unlabelled).values()
    assert (row["status"], row["label_id"], row["clip_path"]) == ("unlabelled", None, "clips/c/y.mp4")


@pytest.mark.parametrize(
    ("kind", "recipe", "retry", "is_open"),
    [
        ("gone", "d", (), False),
        ("gone", "d", ("gone",), True),
        ("gone", "other sources", (), True),
        ("blocked", "d", (), True),
        ("unreachable", "d", (), True),
        ("timeout", "d", (), True),
    ],
)
def test_what_is_open_is_what_a_rerun_takes_up(
    tmp_path: Path, kind: str, recipe: str, retry: tuple[str, ...], is_open: bool
) -> None:
    store, plan = Store(tmp_path), plan_of("x")
    Accounts(store, plan).failed("download", "x", kind, recipe)
    assert bool(standing(store, plan, RECIPES, retry).open_shards()) is is_open


def test_work_of_another_recipe_does_not_count_but_its_download_does(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of("x")
    Accounts(store, plan).ok("x")
    assert standing(store, plan, RECIPES).open_shards() == []
    other = standing(store, plan, Recipes("d2", "c2", "f2", None))
    assert len(other.open_shards()) == 1
    assert other.download["path"].to_pylist() == ["sources/x.mp4"]


def test_a_clip_whose_files_were_dropped_is_open_again(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of("x")
    accounts = Accounts(store, plan)
    accounts.ok("x")
    accounts.add("transcode", "x", "c", outcome="dropped")
    assert len(standing(store, plan, RECIPES).open_shards()) == 1


def test_a_clip_that_was_taken_out_stays_out(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of("x")
    accounts = Accounts(store, plan)
    accounts.ok("x")
    accounts.failed("takedown", "x", "removed", "*")
    now = standing(store, plan, RECIPES, retry=("removed",))
    assert now.open_shards() == []
    assert rows_of(store, plan)["x"]["error_kind"] == "removed"


def test_variants_count_when_there_are_as_many_as_wanted(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of("x", "y")
    accounts = Accounts(store, plan)
    for clip in ("x", "y"):
        accounts.ok(clip)
        accounts.add("augment", clip, "a", path="frames/a/p.parquet", row=3, num_variants=2)
    assert sorted(clip for clip, *_ in variants_wanted(standing(store, plan, RECIPES))) == ["x", "y"]
    shares = {"x": 1, "y": 3}
    assert varied(scan(store, "augment", "a"), shares) == {"x"}
    rows = rows_of(store, plan, shares)
    assert [(rows[c]["num_variants"], rows[c]["variants_row"]) for c in ("x", "y")] == [(1, 3), (0, None)]


def test_a_clip_whose_variants_crashed_is_augmented_again_when_that_is_asked_for(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of("x", "y")
    accounts = Accounts(store, plan)
    for clip in ("x", "y"):
        accounts.ok(clip)
    accounts.failed("augment", "x", "crashed", "a")
    accounts.add("augment", "y", "a", path="frames/a/p.parquet", row=0, num_variants=1)
    variants, shares = scan(store, "augment", "a"), {"x": 1, "y": 1}
    assert varied(variants, shares) == {"x", "y"}
    assert varied(variants, shares, retry=("crashed",)) == {"y"}


def test_a_source_that_was_taken_out_stays_out_with_all_its_segments(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of("x", time_start=3.0, time_end=5.0)
    with LedgerWriter(store, "takedown_of_sources", 0, "remove") as ledger:
        ledger.append(Entry("x", "takedown_of_sources", "*", "erased", "removed"))
    assert standing(store, plan, RECIPES, retry=("removed",)).open_shards() == []
    assert rows_of(store, plan)["x_000003_000005"]["error_kind"] == "removed"
