"""The ledger forgets nothing, and the last word holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidclf.errors import CLIP_ERRORS, StorageError, is_settled
from vidclf.ledger import DROPPED, Entry, LedgerWriter, compact, read_shard, scan
from vidclf.storage import Store


def test_the_last_entry_of_a_key_holds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for run_id, outcome, kind in [("1", "failed", "unreachable"), ("2", "ok", None)]:
        with LedgerWriter(store, "download", 0, run_id) as ledger:
            ledger.append(Entry("a", "download", "r", outcome, kind))
            ledger.append(Entry(f"only-{run_id}", "download", "r"))
    latest = read_shard(store, "download", 0, "r")
    assert latest["a"].ok
    assert latest["a"].run_id == "2"
    assert set(latest) == {"a", "only-1", "only-2"}


def test_a_shard_is_read_alone_and_a_scan_reads_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for shard in (0, 7):
        with LedgerWriter(store, "transcode", shard, "1") as ledger:
            ledger.append(Entry(f"a{shard}", "transcode", "r", "failed", "gone", "not there"))
            ledger.append(Entry(f"a{shard}", "transcode", "r", path="p"))
    assert set(read_shard(store, "transcode", 7, "r")) == {"a7"}
    found = scan(store, "transcode", "r", ("path", "outcome"))
    assert sorted(found["key"].to_pylist()) == ["a0", "a7"]
    assert found["outcome"].to_pylist() == ["ok", "ok"]
    assert len(scan(store, "frames", None)) == 0


def test_entries_of_another_recipe_do_not_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with LedgerWriter(store, "transcode", 0, "1") as ledger:
        ledger.append(Entry("a", "transcode", "old"))
    assert read_shard(store, "transcode", 0, "new") == {}
    assert len(scan(store, "transcode", "new")) == 0


def test_entries_are_written_also_when_the_work_ends_badly(tmp_path: Path) -> None:
    store = Store(tmp_path)
    try:
        with LedgerWriter(store, "frames", 0, "1") as ledger:
            ledger.append(Entry("a", "frames", "r"))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert set(read_shard(store, "frames", 0, "r")) == {"a"}


def test_compaction_changes_the_number_of_files_and_nothing_that_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(5):
        with LedgerWriter(store, "download", 3, str(number)) as ledger:
            ledger.append(Entry("a", "download", "r", attempts=number))
            ledger.append(Entry(f"b{number}", "download", "r"))
    before = read_shard(store, "download", 3, "r")
    compact(store, "download", 3, "now")
    assert len(store.files("ledger/download/00003")) == 1
    assert read_shard(store, "download", 3, "r") == before
    assert before["a"].attempts == 4


def test_permanent_errors_settle_a_clip_and_passing_ones_do_not() -> None:
    open_kinds = {kind for kind in CLIP_ERRORS if not is_settled(kind)}
    assert open_kinds == {"blocked", "unreachable", "timeout"}
    assert {"gone", "removed", "unreadable", "no_video", "too_short", "out_of_range", "unsafe", "crashed"} <= set(
        CLIP_ERRORS
    )
    assert is_settled(None)
    assert not Entry("a", "transcode", "r", DROPPED).settled


class Merging(Store):
    """A store where a run merges the shard's files right after somebody else has listed them, for the first few times."""

    times = 0

    def files(self, folder: str, suffix: str = "") -> list[str]:
        return self._merged(super().files(folder, suffix))

    def files_below(self, folder: str, suffix: str = "") -> list[str]:
        return self._merged(super().files_below(folder, suffix))

    def _merged(self, found: list[str]) -> list[str]:
        if self.times:
            self.times -= 1
            with LedgerWriter(Store(self.uri), "download", 3, "run") as ledger:
                ledger.append(Entry(f"more-{self.times}", "download", "r"))
            compact(Store(self.uri), "download", 3, "run")
        return found


def test_a_reader_without_the_lease_sees_all_rows_while_a_run_merges_files(tmp_path: Path) -> None:
    store = Merging(tmp_path)
    for shard in (3, 4):
        with LedgerWriter(store, "download", shard, "1") as ledger:
            ledger.append(Entry(f"a{shard}", "download", "r"))
    store.times = 2
    assert {"a3", "more-1"} <= set(read_shard(store, "download", 3, "r"))
    store.times = 2
    assert {"a3", "a4", "more-1"} <= set(scan(store, "download", "r")["key"].to_pylist())


def test_a_reader_gives_up_where_files_are_merged_again_and_again(tmp_path: Path) -> None:
    store = Merging(tmp_path)
    with LedgerWriter(store, "download", 3, "1") as ledger:
        ledger.append(Entry("a", "download", "r"))
    store.times = 1000
    with pytest.raises(StorageError, match="ledger/download/00003 was changed 5 times while it was read"):
        read_shard(store, "download", 3, "r")
