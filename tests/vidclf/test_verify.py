"""Whatever is damaged is found and named; what was removed on request is no damage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.vidclf.ingested import OK, A, B, Ingest
from vidclf.cli import main
from vidclf.clips import MANIFEST
from vidclf.errors import ConfigError
from vidclf.ledger import DROPPED, Entry, LedgerWriter
from vidclf.maintenance.remove import find_clips, remove
from vidclf.maintenance.verify import SHOWN, verify
from vidclf.snapshot import point_latest_at, read_snapshot, snapshot_id_of, write_snapshot
from vidclf.stages.frames import write_part
from vidclf.storage import Store

Row = dict[str, Any]


def row_of(store: Store, clip_id: str) -> Row:
    rows: list[Row] = read_snapshot(store).clips.to_pylist()
    return next(row for row in rows if row["clip_id"] == clip_id)


def rewritten(store: Store, path: str, change: Callable[[list[Row]], None]) -> None:
    """Change the rows of a part of frames."""
    rows = pq.ParquetFile(store.full(path)).read().to_pylist()
    change(rows)
    write_part(store, path, rows)


def flip_a_byte(store: Store, path: str) -> None:
    data = bytearray(store.read_bytes(path))
    data[len(data) // 2] ^= 1
    store.write_bytes(path, bytes(data))


def in_frames(change: Callable[[Row], None]) -> Callable[[Store], None]:
    """Damage to the unaltered frames of clip A."""

    def damage(store: Store) -> None:
        row = row_of(store, A)
        rewritten(store, row["frames_path"], lambda rows: change(rows[row["frames_row"]]))

    return damage


def in_variant(change: Callable[[Row], None]) -> Callable[[Store], None]:
    """Damage to the last variant of clip B."""

    def damage(store: Store) -> None:
        row = row_of(store, B)
        last = row["variants_row"] + row["num_variants"] - 1
        rewritten(store, row["variants_path"], lambda rows: change(rows[last]))

    return damage


def swap_two_rows(store: Store) -> None:
    rewritten(store, row_of(store, A)["frames_path"], lambda rows: rows.reverse())


def lose_the_last_row(store: Store) -> None:
    rewritten(store, row_of(store, B)["variants_path"], lambda rows: rows.clear())


def change_the_manifest(store: Store) -> None:
    snapshot = read_snapshot(store)
    rows = snapshot.clips.to_pylist()
    rows[0]["split"] = "test"
    store.write_table(f"snapshots/{snapshot.snapshot_id}/clips.parquet", pa.Table.from_pylist(rows, schema=MANIFEST))


DAMAGES: dict[str, tuple[Callable[[Store], None], str]] = {
    "clip gone": (lambda store: store.delete(row_of(store, A)["clip_path"]), r"clips/\w+/a_000000_000001.mp4 is missing"),
    "clip changed": (lambda store: flip_a_byte(store, row_of(store, A)["clip_path"]), r"a_000000_000001.mp4 was changed"),
    "clip cut short": (
        lambda store: store.write_bytes(row_of(store, A)["clip_path"], b"short"),
        r"a_000000_000001.mp4 has 5 bytes instead of \d+",
    ),
    "part gone": (lambda store: store.delete(row_of(store, A)["frames_path"]), r"frames/\w+/0000\d-\w+.parquet is missing"),
    "part no parquet": (
        lambda store: store.write_bytes(row_of(store, A)["frames_path"], b"nothing"), r"parquet cannot be read"
    ),
    "part empty": (lambda store: store.write_bytes(row_of(store, A)["frames_path"], b""), r"parquet cannot be read"),
    "another clip's row": (swap_two_rows, r"row group \d of .* is .*; the manifest says a_000000_000001"),
    "a frame too few": (in_frames(lambda row: row["frames"].pop()), r"a_000000_000001, has 3 frames instead of 4"),
    "no frames": (in_frames(lambda row: row.update(frames=[], timestamps=[])), r"has 0 frames instead of 4"),
    "a frame cut short": (
        in_frames(lambda row: row["frames"].__setitem__(3, row["frames"][3][:-20])), r"frame 3 is no whole JPEG"
    ),
    "first frame broken": (
        in_frames(lambda row: row["frames"].__setitem__(0, b"\xff\xd8 no picture \xff\xd9")), r"frame 0 does not decode"
    ),
    "another size": (in_frames(lambda row: row.update(width=7)), r"frame 0 is \d+×\d+, not 7×"),
    "wrong variant": (in_frames(lambda row: row.update(variant=1)), r"is a_000000_000001, variant 1; the manifest says a_"),
    "variant broken": (in_variant(lambda row: row["frames"].pop()), r"variant 2 of b_000000_000001, has 3 frames"),
    "variant mixed up": (in_variant(lambda row: row.update(variant=9)), r"the manifest says variant 2 of b_000000_000001"),
    "variants gone": (lose_the_last_row, r"parquet (is missing|has no row group|cannot be read)"),
    "manifest changed": (change_the_manifest, r"clips.parquet was changed: its rows are those of a snapshot \w{16}"),
    "statistics changed": (
        lambda store: store.write_json(f"snapshots/{read_snapshot(store).snapshot_id}/stats.json", {}),
        r"stats.json does not count",
    ),
    "classes reordered": (
        lambda store: store.write_json("classes.json", store.read_json("classes.json")[::-1]),
        r"classes.json gives other label_ids than",
    ),
    "classes gone": (lambda store: store.delete("classes.json"), r"classes.json gives other label_ids than"),
    "snapshot's classes reordered": (
        lambda store: store.write_json(
            f"snapshots/{read_snapshot(store).snapshot_id}/classes.json", read_snapshot(store).classes[::-1]
        ),
        r"a_000000_000001 is labelled 'salsa dancing', but its label_id is 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(ingest: Ingest, damage: str) -> None:
    do, message = DAMAGES[damage]
    assert verify(ingest.store).intact
    do(ingest.store)
    said = CliRunner().invoke(main, ["dataset", "verify", ingest.store.uri])
    assert said.exit_code == 1
    found = verify(ingest.store)
    assert not found.intact
    assert any(re.search(message, problem) for problem in found.problems), found.problems


@pytest.mark.parametrize("damage", ["clip gone", "clip cut short", "part gone", "part empty", "manifest changed"])
def test_a_quick_look_finds_what_is_missing_or_of_another_size(ingest: Ingest, damage: str) -> None:
    assert verify(ingest.store, quick=True).intact
    DAMAGES[damage][0](ingest.store)
    assert not verify(ingest.store, quick=True).intact


def test_an_intact_dataset_is_said_to_be_so_with_what_was_looked_at(ingest: Ingest) -> None:
    found = verify(ingest.store)
    assert (found.annotations, found.clips, found.removed, found.problems) == (8, len(OK), 0, ())
    said = CliRunner().invoke(main, ["dataset", "verify", ingest.store.uri])
    assert said.exit_code == 0
    assert "intact; 8 annotations, 5 clips read" in said.output


def test_two_rows_for_one_annotation_are_found(ingest: Ingest) -> None:
    good = read_snapshot(ingest.store)
    twice = pa.concat_tables([good.clips, good.clips.slice(0, 1)])
    point_latest_at(ingest.store, write_snapshot(ingest.store, twice, good.classes, good.made_by), "r")
    assert snapshot_id_of(twice, good.made_by["recipes"]) == verify(ingest.store).snapshot_id
    annotation = good.clips["annotation_id"][0].as_py()
    assert verify(ingest.store).problems == (f"annotation {annotation} has 2 rows",)


def test_an_ok_row_without_files_is_found(ingest: Ingest) -> None:
    good = read_snapshot(ingest.store)
    rows = [{**row, "clip_path": None} if row["clip_id"] == A else row for row in good.clips.to_pylist()]
    table = pa.Table.from_pylist(rows, schema=MANIFEST)
    ingest.store.write_table(f"snapshots/{good.snapshot_id}/clips.parquet", table)  # the same id: places do not count
    for quick in (False, True):
        assert verify(ingest.store, quick=quick).problems == (
            f"{A} is ok, but the manifest names no clip or no frames of it",
        )


def test_a_class_that_was_added_later_is_no_damage(ingest: Ingest) -> None:
    classes = ingest.store.read_json("classes.json")
    ingest.store.write_json("classes.json", [*classes, "a later one"])
    assert verify(ingest.store).intact


@pytest.mark.parametrize("quick", [False, True])
def test_clips_removed_on_request_are_counted_and_are_no_damage(ingest: Ingest, quick: bool) -> None:
    old = read_snapshot(ingest.store).snapshot_id
    remove(ingest.store, find_clips(ingest.store, [A, B]))
    found = verify(ingest.store, old, quick=quick)
    assert (found.intact, found.removed, found.clips) == (True, 2, len(OK) - 2)
    found = verify(ingest.store, quick=quick)
    assert (found.intact, found.removed, found.clips) == (True, 0, len(OK) - 2)
    command = ["dataset", "verify", ingest.store.uri, "--snapshot", old, *(["--quick"] if quick else [])]
    said = CliRunner().invoke(main, command)
    assert said.exit_code == 0
    assert "intact but for 2 removed on request" in said.output


def test_a_removed_clip_that_is_there_again_is_found(ingest: Ingest) -> None:
    old, row = read_snapshot(ingest.store).snapshot_id, row_of(ingest.store, A)
    clip, part = (ingest.store.read_bytes(row[name]) for name in ("clip_path", "frames_path"))
    remove(ingest.store, find_clips(ingest.store, [A]))
    ingest.store.write_bytes(row["clip_path"], clip)
    assert "still shows it" in verify(ingest.store, old, quick=True).problems[0]
    ingest.store.delete(row["clip_path"])
    ingest.store.write_bytes(row["frames_path"], part)
    (problem,) = verify(ingest.store, old).problems
    assert problem.startswith(f"{A} was taken out, but row group {row['frames_row']} of {row['frames_path']} still")


def test_what_was_dropped_is_counted_as_that(ingest: Ingest) -> None:
    row = row_of(ingest.store, A)
    ingest.store.delete(row["clip_path"])
    assert not verify(ingest.store).intact
    with LedgerWriter(ingest.store, "transcode", 0, "gc") as ledger:
        ledger.append(Entry(A, "transcode", ingest.recipes.clips, DROPPED, path=row["clip_path"]))
    for quick in (False, True):
        found = verify(ingest.store, quick=quick)
        assert (found.intact, found.dropped) == (True, 1)


def test_of_many_problems_the_first_are_shown_and_all_are_counted(ingest: Ingest) -> None:
    good = read_snapshot(ingest.store)
    rows = good.clips.to_pylist()
    like = next(row for row in rows if row["clip_id"] == A)
    many = [{**like, "annotation_id": f"x{n}", "clip_id": f"x{n}", "clip_path": f"clips/c/x{n}.mp4"} for n in range(70)]
    table = pa.Table.from_pylist([*rows, *many], schema=MANIFEST)
    point_latest_at(ingest.store, write_snapshot(ingest.store, table, good.classes, good.made_by), "r")
    said = CliRunner().invoke(main, ["dataset", "verify", ingest.store.uri, "--quick"])
    assert said.exit_code == 1
    assert len(said.output.splitlines()) == SHOWN + 2
    assert said.output.splitlines()[-2] == "… and 20 more"
    found = json.loads(CliRunner().invoke(main, ["dataset", "verify", ingest.store.uri, "--quick", "--json"]).output)
    assert (found["num_problems"], len(found["problems"]), found["intact"]) == (70, SHOWN, False)


def test_a_place_that_is_no_dataset_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no snapshot yet"):
        verify(Store(tmp_path))
    said = CliRunner().invoke(main, ["dataset", "verify", str(tmp_path)])
    assert (said.exit_code, said.output.count("\n")) == (2, 1)
