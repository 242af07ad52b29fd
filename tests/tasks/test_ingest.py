"""The tasks of an ingest, in this process: what is planned, what is reopened, what is kept of a job that got half way."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from tasks.augment import augment_clips, share_out_variants
from tasks.cluster import cluster
from tasks.gate import open_gate
from tasks.plan import plan_clips
from tasks.run import IngestRun, ingest_run
from tasks.settle import settle
from tests.vidclf.ingested import A, Ingest, draw_videos
from vidclf.config import IngestConfig, parse
from vidclf.creation import crowded
from vidclf.errors import Gone, Unreachable
from vidclf.forecast import forecast
from vidclf.lease import hold
from vidclf.ledger import Entry, LedgerWriter, read_shard
from vidclf.stages import StageJob, augment
from vidclf.storage import Store

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with cluster(), disable_run_logger():
        yield


def config_of(folder: Path, **settings: Any) -> IngestConfig:
    values = {
        "dataset": "d",
        "store": str(folder / "store"),
        "annotations": {"path": str(folder / "list.csv")},
        "sources": [{"kind": "folder", "path": str(folder)}],
    }
    return parse(IngestConfig, {**values, **settings})


@dataclass(frozen=True, kw_only=True)
class Unit(StageJob):
    """Delivers its first clip, and fails at the clips named after how they fail."""

    def rest(self, done: Collection[str]) -> Sequence[Unit]:
        return [replace(self, keys=(key,)) for key in self.keys if key not in done]


def deliver(job: Unit) -> list[Entry]:
    key = job.keys[0]
    if key == "gone":
        raise Gone("not there")
    if key == "unreachable":
        raise Unreachable("no answer")
    return [Entry(key, "download", job.recipe)]


def test_what_a_job_leaves_undone_is_tried_clip_by_clip_and_what_it_got_is_kept(tmp_path: Path) -> None:
    keys = ("first", "gone", "unreachable", "last")
    with ingest_run(config_of(tmp_path, execution={"attempts": 1})) as run:
        settle(run, "download", 0, deliver, [Unit(store=run.store, keys=keys, recipe="r")], 60)
        entries = read_shard(run.store, "download", 0, "r")
    assert {key: entry.error_kind for key, entry in entries.items()} == {
        "first": None, "gone": "gone", "unreachable": "unreachable", "last": None,
    }  # fmt: skip
    assert {key for key, entry in entries.items() if entry.settled} == {"first", "gone", "last"}


def test_variants_that_crashed_are_made_when_that_kind_is_tried_again(tmp_path: Path) -> None:
    draw_videos(tmp_path / "videos")
    ingest = Ingest(Store(tmp_path / "dataset"), tmp_path / "videos")
    ingest.run()
    recipe = str(ingest.recipes.augment)
    shard = next(shard for shard in (0, 1) if A in read_shard(ingest.store, augment.STAGE, shard, recipe))
    with LedgerWriter(ingest.store, augment.STAGE, shard, "earlier") as ledger:
        ledger.append(Entry(A, augment.STAGE, recipe, "failed", "crashed", "died"))

    def shards_to_do(run_id: str, **execution: Any) -> list[int]:
        config = ingest.config.model_copy(update={"execution": ingest.config.execution.model_copy(update=execution)})
        with hold(ingest.store, run_id) as lease:
            run = IngestRun(config, ingest.store, run_id, lease, open_gate())
            run.plan = ingest.plan
            shards = share_out_variants.fn(run)
            for number in shards:
                augment_clips.fn(run, number)
            return shards

    assert shards_to_do("one") == []
    assert shards_to_do("two", retry=("gone",)) == []
    assert shards_to_do("three", retry=("crashed",)) == [shard]
    assert read_shard(ingest.store, augment.STAGE, shard, recipe)[A].ok
    assert shards_to_do("four", retry=("crashed",)) == []


def test_a_try_with_a_few_clips_makes_a_dataset_for_the_whole_list(tmp_path: Path) -> None:
    rows = [["salsa dancing", f"id{number:09d}", 0, 2, "train"] for number in range(2600)]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["label", "youtube_id", "time_start", "time_end", "split"], *rows])
    few = config_of(tmp_path, annotations={"path": str(tmp_path / "list.csv"), "limit": 5})
    with ingest_run(few) as run:
        assert len(plan_clips.fn(run)) <= 3
        assert (len(run.plan.rows), run.plan.num_shards) == (5, 3)
    with ingest_run(config_of(tmp_path)) as run:
        plan_clips.fn(run)
        assert (len(run.plan.rows), run.plan.num_shards) == (2600, 3)


def test_a_dataset_with_too_few_shards_for_its_list_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert crowded(1, 5000) == crowded(644, 644_000) == ()
    (said,) = crowded(1, 644_000)
    assert "644,000 clips in 1 shard: " in said
    assert "execution.num_shards 644," in said
    monkeypatch.setattr("vidclf.creation.CROWDED", 2)
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["label", "youtube_id", "time_start", "time_end", "split"]]
            + [["salsa dancing", f"id{number:09d}", 0, 2, "train"] for number in range(3)]
        )
    assert any("3 clips in 1 shard: " in notice for notice in forecast(config_of(tmp_path)).notices)
    with ingest_run(config_of(tmp_path)) as run:
        plan_clips.fn(run)
        assert any("3 clips in 1 shard: " in notice for notice in run.plan.notices)
