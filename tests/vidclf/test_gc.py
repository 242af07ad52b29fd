"""Garbage goes, and nothing else; what went is made again where it is wanted."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.vidclf.ingested import (
    A_LATER,
    ANNOTATED,
    BROKEN,
    GONE,
    OK,
    OTHER,
    A,
    B,
    Ingest,
    Killed,
    MortalStore,
    ledger_says_ok_of,
)
from vidclf.cli import main
from vidclf.errors import ConfigError
from vidclf.lease import LEASE_PATH, LeaseHeld, hold
from vidclf.ledger import DROPPED, Entry, LedgerWriter, read_shard
from vidclf.maintenance.files import files_in
from vidclf.maintenance.gc import collect
from vidclf.maintenance.verify import verify
from vidclf.snapshot import latest_id, point_latest_at, read_snapshot, write_snapshot
from vidclf.stages import archive
from vidclf.storage import Store


@pytest.fixture
def twice(ingest: Ingest, ingested: Path) -> tuple[Ingest, Ingest]:
    """The same annotations under two profiles; the second one's snapshot is the latest."""
    other = Ingest(ingest.store, ingested / "videos", **OTHER)
    other.run()
    return ingest, other


def paths(store: Store, folder: str) -> set[str]:
    return {file.path for file in files_in(store, folder)}


def assert_whole(store: Store) -> None:
    """The latest snapshot has all it names, and the ledger calls nothing ok that is not there."""
    found = verify(store)
    assert found.problems == ()
    assert found.dropped == 0
    assert ledger_says_ok_of(store) <= paths(store, "clips") | paths(store, "frames")


@pytest.mark.thorough
def test_a_dataset_in_which_everything_is_named_stays_as_it_is(ingest: Ingest) -> None:
    before = {folder: paths(ingest.store, folder) for folder in ("clips", "frames", "sources", "snapshots")}
    assert collect(ingest.store).total.files == 0
    assert {folder: paths(ingest.store, folder) for folder in before} == before
    assert ingest.open_clips() == set()


@pytest.mark.thorough
def test_what_only_an_old_snapshot_names_goes_and_is_made_again(twice: tuple[Ingest, Ingest]) -> None:
    old, new = twice
    before = read_snapshot(old.store).snapshot_id
    first = old.recipes.clips
    assert collect(old.store, keep=2).total.files == 0
    found = collect(old.store, keep=1)
    assert found.kept_snapshots == [before]
    assert len(found.removed_snapshots) == 1
    assert found.removed["clips"].files == len(OK)
    assert found.removed["frames"].files > 0
    assert first not in {path.split("/")[1] for path in paths(old.store, "clips")}
    assert_whole(old.store)
    assert new.open_clips() == set()
    assert old.open_clips() == OK  # what failed for good is not tried again
    again = old.run()
    assert set(old.done["transcode"]) == OK
    assert old.done["download"] == []  # the sources are still there
    assert_whole(old.store)
    assert again.snapshot_id == found.removed_snapshots[0]  # the same rows as before
    assert new.open_clips() == set()


def test_the_snapshots_kept_are_those_published_last_and_the_latest_is_one_of_them(
    twice: tuple[Ingest, Ingest],
) -> None:
    old, new = twice
    second, first = latest_id(old.store), old.publish().snapshot_id  # back to the first one
    unpublished = write_snapshot(
        old.store, read_snapshot(old.store).clips.slice(1), [], {"recipes": old.recipes.identity}
    )
    found = collect(old.store, keep=2)
    assert found.kept_snapshots == [first, second]
    assert found.removed_snapshots == [unpublished.snapshot_id]
    assert verify(old.store, str(second)).intact
    assert collect(old.store, keep=1).kept_snapshots == [first]
    assert_whole(old.store)
    assert new.open_clips() == OK


def test_clips_that_are_no_longer_annotated_go(ingest: Ingest, ingested: Path) -> None:
    fewer = Ingest(ingest.store, ingested / "videos", ANNOTATED[2:])
    fewer.run()
    collect(ingest.store, keep=1)
    assert f"clips/{ingest.recipes.clips}/{A}.mp4" not in paths(ingest.store, "clips")
    assert f"clips/{ingest.recipes.clips}/{B}.mp4" in paths(ingest.store, "clips")
    assert_whole(ingest.store)
    assert fewer.open_clips() == set()
    assert ingest.open_clips() == {A, A_LATER}


@pytest.mark.thorough
def test_a_run_that_was_cut_short_goes_on_where_it_was(ingest: Ingest, ingested: Path) -> None:
    other = Ingest(ingest.store, ingested / "videos", **OTHER)
    other.work()  # and is killed before it publishes
    found = collect(ingest.store, keep=1)
    assert found.total.files == 0
    assert found.unpublished.files > len(OK)
    assert other.open_clips() == set()
    found = collect(ingest.store, keep=1, unpublished=True)
    assert found.removed["clips"].files == len(OK)
    assert other.open_clips() == OK
    assert_whole(ingest.store)


def test_the_clip_of_a_row_whose_frames_failed_stays_so_that_it_is_not_made_again(ingest: Ingest) -> None:
    shard = next(shard for shard in (0, 1) if B in read_shard(ingest.store, "frames", shard, ingest.recipes.frames))
    with LedgerWriter(ingest.store, "frames", shard, "r") as ledger:
        ledger.append(Entry(B, "frames", ingest.recipes.frames, "failed", "crashed", "died"))
    ingest.publish()
    collect(ingest.store, keep=1)
    assert f"clips/{ingest.recipes.clips}/{B}.mp4" in paths(ingest.store, "clips")
    ingest.run()
    assert not ingest.done


def test_sources_stay_unless_asked_for_and_then_as_long_as_a_clip_needs_them(ingest: Ingest) -> None:
    store = ingest.store
    assert {"sources/a.mp4", "sources/b.mp4"} <= paths(store, "sources")
    collect(store)
    assert "sources/a.mp4" in paths(store, "sources")
    for shard in (0, 1):
        if A in read_shard(store, "transcode", shard, None):
            with LedgerWriter(store, "transcode", shard, "r") as ledger:
                ledger.append(Entry(A, "transcode", ingest.recipes.clips, "failed", "timeout", "slow"))
    store.write_bytes("sources/staged_000000_000001.mp4", b"waits for its download stage")
    found = collect(store, sources=True)
    assert paths(store, "sources") == {"sources/a.mp4", "sources/staged_000000_000001.mp4"}
    assert found.removed["sources"].files == 4  # also the one that is no video, which is settled
    ingest.run()
    assert ingest.done["download"] == []
    assert_whole(store)


def test_what_was_staged_for_a_clip_that_came_from_elsewhere_is_no_needed_source(ingest: Ingest) -> None:
    staged = f"sources/{A}.mp4"
    ingest.store.write_bytes(staged, b"out of a tar; the clip was made of sources/a.mp4")
    collect(ingest.store)
    assert staged in paths(ingest.store, "sources")
    collect(ingest.store, sources=True)
    assert paths(ingest.store, "sources") == set()
    assert_whole(ingest.store)


def test_a_clip_whose_source_went_is_downloaded_when_another_profile_wants_it(ingest: Ingest, ingested: Path) -> None:
    collect(ingest.store, sources=True)
    assert paths(ingest.store, "sources") == set()
    assert ingest.open_clips() == set()
    other = Ingest(ingest.store, ingested / "videos", **OTHER)
    assert other.open_clips() == OK | {BROKEN}
    other.run()
    assert set(other.done["download"]) == OK | {BROKEN}
    assert other.open_clips() == set()
    assert_whole(ingest.store)


def test_an_archive_whose_clips_go_is_to_be_read_again(twice: tuple[Ingest, Ingest]) -> None:
    store = twice[0].store
    for shard in (0, 1):
        fetched = read_shard(store, "download", shard, None)
        with LedgerWriter(store, "download", shard, "r") as ledger:
            for key in fetched.keys() & {B}:
                ledger.append(Entry(B, "download", "r", source="cvdf", path=fetched[key].path))
    with LedgerWriter(store, archive.STAGE, 0, "r") as ledger:
        ledger.append(Entry("http://a.tar", archive.STAGE, "r", source="cvdf"))
        ledger.append(Entry("http://b.tar", archive.STAGE, "r", source="another"))
    collect(store, keep=1)
    read = read_shard(store, archive.STAGE, 0, "r")
    assert {uri: entry.outcome for uri, entry in read.items()} == {"http://a.tar": DROPPED, "http://b.tar": "ok"}


def test_what_killed_writes_left_goes_when_it_is_old(ingest: Ingest) -> None:
    store, old = ingest.store, time.time() - 7200
    name = f".x.mp4.{'0' * 32}"
    left = [f"clips/{ingest.recipes.clips}/{name}", f"sources/{name}", f".write-check-{'f' * 32}"]
    young = f"clips/{ingest.recipes.clips}/.y.mp4.{'1' * 32}"
    others = ["clips/.hidden", ".latest.json.lock", f"{name[1:]}"]
    for path in [*left, young, *others]:
        store.write_bytes(path, b"x")
        if path != young:
            os.utime(store.full(path), (old, old))
    orphans = [f"frames/{ingest.recipes.frames}/00000-0123456789ab.parquet", f"clips/{ingest.recipes.clips}/x.mp4"]
    for path in orphans:
        store.write_bytes(path, b"orphan")
    snapshot = "snapshots/0123456789abcdef/clips.parquet"
    store.write_bytes(snapshot, b"never finished")
    found = collect(store)
    assert found.removed["temporary files"].files == len(left)
    there = paths(store, "")
    assert there.isdisjoint([*left, *orphans, snapshot])
    assert there >= {young, *others}
    assert_whole(store)


def test_nothing_changes_in_a_dry_run_and_it_says_what_a_real_one_does(twice: tuple[Ingest, Ingest]) -> None:
    store = twice[0].store
    before = files_of(store)
    with hold(store, "an ingest"):
        said = collect(store, keep=1, sources=True, dry_run=True)
    assert files_of(store) == before
    done = collect(store, keep=1, sources=True)
    assert said.removed == done.removed
    assert (said.kept_snapshots, said.entries_dropped) == (done.kept_snapshots, done.entries_dropped)


def files_of(store: Store) -> dict[str, int]:
    """Path → bytes, of all but the lease and its lock."""
    return {file.path: file.bytes for file in files_in(store) if LEASE_PATH not in file.path}


def test_no_collection_beside_a_run(ingest: Ingest) -> None:
    with hold(ingest.store, "the-run"), pytest.raises(LeaseHeld, match="the-run"):
        collect(ingest.store)


def test_the_ledger_is_one_file_per_stage_and_shard_afterwards(ingest: Ingest) -> None:
    store = ingest.store
    with LedgerWriter(store, "download", 0, "r") as ledger:
        ledger.append(Entry("x", "download", "r", "failed", "gone"))
    assert len(store.files("ledger/download/00000")) == 2
    assert collect(store).ledger_files_merged == 2
    folders = [path.rpartition("/")[0] for path in store.files_below("ledger")]
    assert len(folders) == len(set(folders))
    assert ingest.open_clips() == set()


@pytest.mark.thorough
def test_killed_anywhere_nothing_that_is_kept_names_what_is_missing_and_the_next_one_finishes(
    twice: tuple[Ingest, Ingest], tmp_path: Path, ingested: Path
) -> None:
    template = tmp_path / "dataset"
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(template, undisturbed)
    collect(Store(undisturbed), keep=1, sources=True)
    lives, killed = 0, True
    while killed:
        folder = tmp_path / f"killed-{lives}"
        shutil.copytree(template, folder)
        killed = False
        try:
            collect(MortalStore(str(folder), lives), keep=1, sources=True)
        except Killed:
            killed = True
        store = Store(folder)
        assert_whole(store)
        if killed:
            collect(store, keep=1, sources=True)
            assert_whole(store)
        for part in ("clips", "frames", "sources", "snapshots"):
            assert paths(store, part) == paths(Store(undisturbed), part), lives
        assert Ingest(store, ingested / "videos").open_clips() == OK
        assert Ingest(store, ingested / "videos", **OTHER).open_clips() == set()
        shutil.rmtree(folder)
        lives += 1
    assert lives > 30


def test_a_dataset_that_is_none_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no snapshot yet"):
        collect(Store(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_the_latest_snapshot_cannot_be_given_up(ingest: Ingest) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        collect(ingest.store, keep=0)


def test_a_takedown_is_no_publish_that_ages_the_work_of_a_run(ingest: Ingest, ingested: Path) -> None:
    other = Ingest(ingest.store, ingested / "videos", **OTHER)
    other.work()
    without = read_snapshot(ingest.store)
    point_latest_at(
        ingest.store,
        write_snapshot(ingest.store, without.clips.slice(1), without.classes, without.made_by),
        "remove-20261121-150412-3fa9c1",
    )
    collect(ingest.store)
    assert other.open_clips() == set()


def test_the_command_says_what_went(twice: tuple[Ingest, Ingest]) -> None:
    uri = twice[0].store.uri
    dry = CliRunner().invoke(main, ["dataset", "gc", uri, "--keep", "1", "--dry-run"])
    assert dry.exit_code == 0
    assert "would be removed: " in dry.output
    done = CliRunner().invoke(main, ["dataset", "gc", uri, "--keep", "1", "--json"])
    found = json.loads(done.output)
    assert found["removed"]["clips"]["files"] == len(OK)
    assert found["total"]["bytes"] > 0
    assert CliRunner().invoke(main, ["dataset", "gc", uri, "--keep", "0"]).exit_code == 2
    nowhere = CliRunner().invoke(main, ["dataset", "gc", f"{uri}-not"])
    assert nowhere.exit_code == 2
    assert nowhere.output.count("\n") == 1
    assert GONE not in done.output
