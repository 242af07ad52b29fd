"""Takedown: what is removed is gone everywhere and for good; everything else stays as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
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
    C,
    Ingest,
    Killed,
    MortalStore,
    ledger_says_ok_of,
)
from vidclf.cli import main
from vidclf.data.frames import FrameReader
from vidclf.errors import ConfigError, Removed
from vidclf.lease import LeaseHeld, hold
from vidclf.ledger import read_shard, scan
from vidclf.maintenance.files import files_in
from vidclf.maintenance.gc import collect
from vidclf.maintenance.remove import find_clips, remove
from vidclf.maintenance.verify import verify
from vidclf.snapshot import latest_id, read_snapshot
from vidclf.storage import Store
from vidclf.takedown import removed_ids, removed_sources


def showing(store: Store, *clip_ids: str) -> set[str]:
    """Files that show one of the clips: videos by their names, parts of frames by their rows."""
    found = set()
    for file in files_in(store):
        if file.path.startswith("clips/") and file.name.removesuffix(".mp4") in clip_ids:
            found.add(file.path)
        if file.path.startswith("frames/"):
            rows = pq.ParquetFile(store.full(file.path)).read().to_pylist()
            if any(row["clip_id"] in clip_ids and (row["frames"] or row["timestamps"]) for row in rows):
                found.add(file.path)
    return found


@pytest.mark.thorough
def test_a_clip_is_erased_under_every_recipe_and_no_run_brings_it_back(ingest: Ingest, ingested: Path) -> None:
    other = Ingest(ingest.store, ingested / "videos", **OTHER)
    other.run()
    assert len(showing(ingest.store, A)) == 6  # clip, frames and variants, under two recipes
    done = remove(ingest.store, find_clips(ingest.store, [A]), "asked by letter")
    assert showing(ingest.store, A) == set()
    assert (done.clip_ids, done.videos) == ((A,), 3)
    assert done.frames >= 4
    assert removed_ids(ingest.store) == [A]
    tombstone = scan(ingest.store, "takedown", "*").to_pylist()[0]
    assert (tombstone["outcome"], tombstone["error_kind"], tombstone["error_message"]) == (
        "erased", "removed", "asked by letter",
    )  # fmt: skip
    for run in (ingest, other, Ingest(ingest.store, ingested / "videos", **{**OTHER, "frames": {"num_frames": 2}})):
        run.run()
        assert A not in {key for keys in run.done.values() for key in keys}
    assert showing(ingest.store, A) == set()


def test_the_next_snapshot_has_the_clip_as_a_failed_row_and_is_what_an_ingest_would_publish(
    ingest: Ingest, ingested: Path
) -> None:
    plain = Ingest(ingest.store, ingested / "videos", augment=None)
    before = plain.run()
    done = remove(ingest.store, find_clips(ingest.store, [B]))
    after = read_snapshot(ingest.store)
    assert done.snapshot_id == after.snapshot_id != before.snapshot_id
    rows = {row["annotation_id"]: row for row in after.clips.to_pylist()}
    for annotation in (B, f"{B}.2"):
        row = rows[annotation]
        assert (row["status"], row["error_kind"], row["label"]) == ("failed", "removed", "tango/dancing")
        assert {row[name] for name in ("clip_path", "frames_path", "sha256", "bytes", "num_variants", "fps")} == {None}
    others = [row for row in before.clips.to_pylist() if row["clip_id"] != B]
    assert [row for row in rows.values() if row["clip_id"] != B] == others
    assert after.made_by == before.made_by
    assert verify(ingest.store).intact
    assert plain.run().snapshot_id == after.snapshot_id
    assert not plain.done


def test_old_snapshots_stay_readable_for_all_other_clips(ingest: Ingest) -> None:
    old = read_snapshot(ingest.store)
    remove(ingest.store, find_clips(ingest.store, [A]))
    reader = FrameReader(ingest.store)
    for row in old.clips.to_pylist():
        if row["frames_path"] and row["clip_id"] != A:
            clip = reader.read(row["frames_path"], row["frames_row"])
            assert (clip.clip_id, clip.variant, len(clip)) == (row["clip_id"], 0, 4)
            for variant in range(1, (row["num_variants"] or 0) + 1):
                found = reader.read(row["variants_path"], row["variants_row"] + variant - 1)
                assert (found.clip_id, found.variant) == (row["clip_id"], variant)
    removed = next(row for row in old.clips.to_pylist() if row["clip_id"] == A)
    with pytest.raises(Removed, match=f"clip {A} was taken out since this snapshot; train on the latest"):
        reader.read(removed["frames_path"], removed["frames_row"])
    found = verify(ingest.store, old.snapshot_id)
    assert (found.intact, found.removed) == (True, 1)


def test_a_source_that_others_share_goes_and_is_fetched_again_when_they_are_cut_anew(
    ingest: Ingest, ingested: Path
) -> None:
    remove(ingest.store, find_clips(ingest.store, [A]))
    assert not ingest.store.is_file("sources/a.mp4")
    assert ingest.store.is_file("sources/b.mp4")
    assert ingest.open_clips() == set()
    assert verify(ingest.store).intact
    other = Ingest(ingest.store, ingested / "videos", **OTHER)
    other.run()
    assert other.done["download"] == [A_LATER]
    assert set(other.done["transcode"]) == (OK | {BROKEN}) - {A}


def test_a_source_is_removed_with_all_its_clips(ingest: Ingest) -> None:
    done = remove(ingest.store, find_clips(ingest.store, [], ["a"]))
    assert done.clip_ids == (A, A_LATER)
    assert showing(ingest.store, A, A_LATER) == set()
    assert ingest.open_clips() == set()
    assert ledger_says_ok_of(ingest.store) <= {file.path for file in files_in(ingest.store)}


def test_a_removed_source_stays_out_with_segments_that_only_a_later_list_has(ingest: Ingest, ingested: Path) -> None:
    remove(ingest.store, find_clips(ingest.store, [], ["a"]))
    later = {**ANNOTATED[0], "time_start": 0.5, "time_end": 1.5}
    grown = Ingest(ingest.store, ingested / "videos", [*ANNOTATED, later])
    assert grown.open_clips() == set()
    after = grown.run()
    assert not grown.done
    rows = {row["annotation_id"]: row for row in after.clips.to_pylist()}
    (row,) = [row for row in rows.values() if row["time_start"] == 0.5]
    assert (row["status"], row["error_kind"], row["clip_path"]) == ("failed", "removed", None)
    assert not ingest.store.is_file("sources/a.mp4")
    assert verify(ingest.store).intact
    remove(ingest.store, find_clips(ingest.store, [A]))  # by its id, a clip does not take its source along
    assert removed_sources(ingest.store) == ["a"]


def test_a_clip_that_a_run_made_and_never_published_is_found(ingest: Ingest, ingested: Path) -> None:
    later = [{**ANNOTATED[0], "time_start": start, "time_end": start + 1} for start in (0.5, 0.75)]
    odd = {**ANNOTATED[0], "source_id": "a", "time_start": 0.0, "time_end": 2.0}
    grown = Ingest(ingest.store, ingested / "videos", [*ANNOTATED, *later, odd])
    grown.work()  # and is killed before it publishes
    half, other, whole = "a_000000500ms_000001500ms", "a_000000750ms_000001750ms", "a_000000_000002"
    assert showing(ingest.store, half)
    assert remove(ingest.store, find_clips(ingest.store, [half])).clip_ids == (half,)
    assert showing(ingest.store, half) == set()
    done = remove(ingest.store, find_clips(ingest.store, [], ["a"]))
    assert set(done.clip_ids) == {A, A_LATER, half, other, whole}
    assert showing(ingest.store, A, A_LATER, other, whole) == set()
    assert ledger_says_ok_of(ingest.store) <= {file.path for file in files_in(ingest.store)}
    assert grown.open_clips() == set()


def test_a_clip_can_be_taken_out_before_anything_was_published(ingested: Path, tmp_path: Path) -> None:
    begun = Ingest(Store(tmp_path / "begun"), ingested / "videos")
    begun.work()  # and is killed before it publishes
    orphan = "orphan_000000_000001"  # and before the ledger heard of this one
    begun.store.write_bytes(f"clips/{begun.recipes.clips}/{orphan}.mp4", b"x")
    done = remove(begun.store, find_clips(begun.store, [A, orphan]))
    assert (done.clip_ids, done.snapshot_id) == ((A, orphan), None)
    assert showing(begun.store, A, orphan) == set()
    assert latest_id(begun.store) is None
    assert begun.run().stats["errors"]["removed"] == 1
    assert verify(begun.store).intact


def test_a_clip_that_only_an_older_snapshot_has_is_found(ingest: Ingest, ingested: Path) -> None:
    fewer = Ingest(ingest.store, ingested / "videos", ANNOTATED[2:])
    latest = fewer.run()
    remove(ingest.store, find_clips(ingest.store, [A]))
    assert showing(ingest.store, A) == set()
    assert latest_id(ingest.store) == latest.snapshot_id  # nothing changed for it
    assert ingest.open_clips() == set()


def test_a_part_that_no_ledger_names_is_emptied_too(ingest: Ingest) -> None:
    (part,) = {row["frames_path"] for row in read_snapshot(ingest.store).clips.to_pylist() if row["clip_id"] == A}
    orphan = f"{part.rpartition('/')[0]}/{part.rpartition('/')[2][:6]}0123456789ab.parquet"
    ingest.store.write_bytes(orphan, ingest.store.read_bytes(part))
    ingest.store.write_bytes("sources/a.webm", b"downloaded, and killed before the ledger heard of it")
    remove(ingest.store, find_clips(ingest.store, [A]))
    assert showing(ingest.store, A) == set()
    assert not ingest.store.is_file("sources/a.webm")


def test_reports_that_show_a_clip_are_erased(ingest: Ingest) -> None:
    ingest.store.write_bytes("runs/1/report.html", f"<p>{A}</p>".encode())
    ingest.store.write_bytes("runs/2/report.html", f"<p>{B}</p>".encode())
    assert remove(ingest.store, find_clips(ingest.store, [A])).reports == 1
    assert [file.path for file in files_in(ingest.store, "runs")] == ["runs/2/report.html"]


def test_unknown_ids_are_one_error_and_nothing_happens(ingest: Ingest) -> None:
    before = {file.path: file.modified for file in files_in(ingest.store)}
    with pytest.raises(ConfigError, match="has never had 'nosuch', 'alsonot'; nothing was removed"):
        find_clips(ingest.store, [A, "nosuch"], ["alsonot"])
    said = CliRunner().invoke(main, ["dataset", "remove", ingest.store.uri, A, "nosuch", "--yes"])
    assert said.exit_code == 2
    assert said.output.count("\n") == 1
    assert {file.path: file.modified for file in files_in(ingest.store)} == before


def test_a_clip_that_failed_is_removed_too_so_that_no_retry_makes_it(ingest: Ingest, ingested: Path) -> None:
    remove(ingest.store, find_clips(ingest.store, [GONE]))
    shutil.copytree(ingested / "videos", ingest.store.full("now"))
    shutil.copyfile(ingested / "videos/a.mp4", ingest.store.full("now/gone.mp4"))
    again = Ingest(ingest.store, Path(ingest.store.full("now")))
    assert again.open_clips() == set()
    (row,) = [row for row in read_snapshot(ingest.store).clips.to_pylist() if row["clip_id"] == GONE]
    assert row["error_kind"] == "removed"


def test_no_takedown_beside_a_run(ingest: Ingest) -> None:
    targets = find_clips(ingest.store, [A])
    with hold(ingest.store, "the-run"), pytest.raises(LeaseHeld, match="the-run"):
        remove(ingest.store, targets)
    assert removed_ids(ingest.store) == []


@pytest.mark.thorough
def test_killed_anywhere_the_latest_snapshot_is_whole_and_doing_it_again_finishes(
    ingest: Ingest, ingested: Path, tmp_path: Path
) -> None:
    Ingest(ingest.store, ingested / "videos", **OTHER).run()
    template, lives, killed = tmp_path / "dataset", 0, True
    while killed:
        folder = tmp_path / f"killed-{lives}"
        shutil.copytree(template, folder)
        store, killed = Store(folder), False
        targets = find_clips(store, [A])
        try:
            remove(MortalStore(str(folder), lives), targets)
        except Killed:
            killed = True
        if lives:
            assert removed_ids(store) == [A]  # first of all
            assert A not in Ingest(store, ingested / "videos").open_clips()
        problems = verify(store).problems
        assert all("run `vidclf dataset remove` for it again" in problem for problem in problems)
        assert bool(problems) == (killed and lives > 0)
        if killed:
            remove(store, find_clips(store, [A]))
            assert verify(store).intact
        assert showing(store, A) == set()
        assert not store.is_file("sources/a.mp4")
        assert ledger_says_ok_of(store) <= {file.path for file in files_in(store)}
        shutil.rmtree(folder)
        lives += 1
    assert lives > 12


def test_garbage_collection_after_a_takedown_keeps_what_the_others_need(ingest: Ingest) -> None:
    remove(ingest.store, find_clips(ingest.store, [A]))
    collect(ingest.store, keep=1)
    assert verify(ingest.store).intact
    assert ingest.open_clips() == set()
    assert ingest.run().stats["errors"]["removed"] == 1


def test_the_command_asks_first_and_takes_ids_that_begin_with_a_dash(ingest: Ingest) -> None:
    uri = ingest.store.uri
    asked = CliRunner().invoke(main, ["dataset", "remove", uri, "--", C], input="n\n")
    assert asked.exit_code == 1
    assert "1 clip of" in asked.output
    assert removed_ids(ingest.store) == []
    done = CliRunner().invoke(main, ["dataset", "remove", uri, "--source=-c", "--yes", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output)["clip_ids"] == [C]
    assert CliRunner().invoke(main, ["dataset", "remove", uri]).exit_code == 2
    shard = next(shard for shard in (0, 1) if C in read_shard(ingest.store, "transcode", shard, None))
    assert read_shard(ingest.store, "transcode", shard, ingest.recipes.clips)[C].error_kind == "removed"
