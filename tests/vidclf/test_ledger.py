"""The ledger forgets nothing, and the last word holds."""

from __future__ import annotations

from pathlib import Path

from vidclf.errors import CLIP_ERRORS, is_settled
from vidclf.ledger import Entry, LedgerWriter, read_stage
from vidclf.storage import Store


def test_the_last_entry_of_a_key_holds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for run_id, outcome, kind in [("1", "failed", "unreachable"), ("2", "ok", None)]:
        with LedgerWriter(store, "download", run_id) as ledger:
            ledger.append(Entry("a", "download", "r", outcome, kind))
            ledger.append(Entry(f"only-{run_id}", "download", "r"))
    latest = read_stage(store, "download", "r")
    assert latest["a"].ok
    assert latest["a"].run_id == "2"
    assert set(latest) == {"a", "only-1", "only-2"}
    assert set(read_stage(store, "download", "r", ["only-1"])) == {"only-1"}


def test_entries_of_another_recipe_do_not_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with LedgerWriter(store, "transcode", "1") as ledger:
        ledger.append(Entry("a", "transcode", "old"))
    assert read_stage(store, "transcode", "new") == {}


def test_entries_are_written_also_when_the_work_ends_badly(tmp_path: Path) -> None:
    store = Store(tmp_path)
    try:
        with LedgerWriter(store, "frames", "1") as ledger:
            ledger.append(Entry("a", "frames", "r"))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert set(read_stage(store, "frames", "r")) == {"a"}


def test_permanent_errors_settle_a_clip_and_passing_ones_do_not() -> None:
    open_kinds = {kind for kind in CLIP_ERRORS if not is_settled(kind)}
    assert open_kinds == {"blocked", "unreachable", "timeout"}
    assert {"gone", "unreadable", "no_video", "too_short", "out_of_range", "unsafe", "crashed"} <= set(CLIP_ERRORS)
    assert is_settled(None)
