"""The board counts, and says how fast it goes lately."""

from __future__ import annotations

import pytest

from tasks import progress
from tasks.progress import Board, Stage, describe
from tasks.watch import artifact_key


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_stage_counts_what_is_done_and_what_failed(clock: list[float]) -> None:
    board = Board()
    board.expect("frames", 10)
    board.advance("frames", 3, failed=1)
    board.expect("frames", -2)
    (stage,) = board.stages()
    assert (stage.done, stage.total, stage.failed) == (3, 8, 1)


def test_the_rate_is_of_the_last_seconds_and_not_of_the_wait_before(clock: list[float]) -> None:
    board = Board()
    board.expect("transcode", 1000)
    clock[0] = 600.0  # nothing came for ten minutes
    for _ in range(100):
        board.advance("transcode")
        clock[0] += 0.5
    (stage,) = board.stages()
    assert stage.rate == pytest.approx(2.0, rel=0.05)
    assert len(stage.marks) < 50


def test_a_description_says_failures_rate_and_time_left() -> None:
    assert describe(Stage("x", 30, 50, 2, marks=((0.0, 10), (10.0, 30)))) == "2 failed, 2.0/s, 10 s left"
    assert describe(Stage("x", 50, 50)) == ""
    assert describe(Stage("x", 1, 2, note="epoch 1 of 2")) == "epoch 1 of 2"


def test_a_key_has_the_letters_that_prefect_allows() -> None:
    assert (
        artifact_key("dancing-demo", "judge dancing@champion shuffled")
        == "dancing-demo-judge-dancing-champion-shuffled"
    )
    assert artifact_key("ingest", "UCF_Sports.v2") == "ingest-ucf-sports-v2"
