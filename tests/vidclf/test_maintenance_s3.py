"""Upkeep does the same in a bucket as in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vidclf.ingested import OK, SETTINGS, A, Ingest
from vidclf.maintenance.export import Options, export
from vidclf.maintenance.files import files_in
from vidclf.maintenance.gc import collect
from vidclf.maintenance.remove import find_clips, remove
from vidclf.maintenance.verify import verify
from vidclf.snapshot import read_snapshot
from vidclf.storage import Store


@pytest.mark.thorough
def test_a_bucket_is_kept_as_a_folder_is(bucket: str, ingested: Path, tmp_path: Path) -> None:
    store = Store(f"{bucket}/datasets/d")
    store.fs.put(str(ingested / "dataset") + "/", store.root + "/", recursive=True)
    first = Ingest(store, ingested / "videos")
    old = read_snapshot(store).snapshot_id
    assert verify(store).intact
    assert export(store, tmp_path / "frames", Options("frames", variants=True)).videos == {"train": 6, "val": 1}

    done = remove(store, find_clips(store, [A]))
    assert (done.videos, verify(store, old).removed) == (2, 1)
    assert verify(store).intact
    assert export(store, tmp_path / "clips").videos == {"train": 2, "val": 1}

    other = Ingest(store, ingested / "videos", **{**SETTINGS, "clips": {"short_side": 32, "preset": "ultrafast"}})
    other.run()
    said = collect(store, keep=1, sources=True, dry_run=True)
    found = collect(store, keep=1, sources=True)
    assert said.removed == found.removed
    assert found.removed["clips"].files == len(OK) - 1
    assert len(found.removed_snapshots) == 2
    assert [file.path for file in files_in(store, "sources")] == []
    assert {path.split("/")[1] for path in (file.path for file in files_in(store, "clips"))} == {other.recipes.clips}
    assert verify(store).intact
    assert verify(store, quick=True).intact
    assert other.open_clips() == set()
    assert first.open_clips() == OK - {A}

    store.delete(read_snapshot(store).clips["clip_path"].drop_null()[0].as_py())
    assert not verify(store, quick=True).intact
    assert not verify(store).intact
