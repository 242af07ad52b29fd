"""Is a challenger due, is it better, and what stays of a decision: without servers, models or a registry."""

from __future__ import annotations

from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from vidclf.clips import MANIFEST
from vidclf.config import RetrainConfig, parse
from vidclf.errors import ConfigError
from vidclf.evaluation.paired import exact_p_of_better, mcnemar
from vidclf.retraining import records
from vidclf.retraining.decision import (
    Answers,
    Contestant,
    Criteria,
    Decision,
    Figures,
    conclude,
    decision_id,
    weigh,
)
from vidclf.retraining.news import due, training_clips
from vidclf.retraining.outcome import Outcome, Retrained, markdown, metrics

CRITERIA = Criteria(split="test", num_ensemble_views=1, num_spatial_crops=1, margin=2.0, alpha=0.05)


def config(**changes: Any) -> RetrainConfig:
    given = {"dataset": "tiny", "model_name": "dancing", "training": {"model": "cnn_lstm"}}
    return parse(RetrainConfig, {**given, **changes})


def answers(right: str, learned: tuple[str, ...] = ()) -> Answers:
    """Of videos v00, v01, …: ``x`` right, ``.`` wrong, ``-`` could not be asked."""
    said = {f"v{number:02}": mark == "x" for number, mark in enumerate(right) if mark != "-"}
    return Answers(said, learned)


def labels(number: int, first: int = 1) -> dict[str, str]:
    """Of so many videos, of which the first so many are of class a."""
    return {f"v{n:02}": "a" if n < first else "b" for n in range(number)}


def verdict(challenger: str, champion: str | None, criteria: Criteria = CRITERIA) -> tuple[bool, str]:
    asked = labels(len(challenger), len(challenger) // 2)
    return conclude(weigh(asked, answers(challenger), answers(champion) if champion else None), criteria)


def test_the_one_sided_test_is_the_binomial_tail() -> None:
    for first, second in product(range(8), range(8)):
        n = first + second
        tail = sum(comb(n, k) for k in range(first, n + 1)) / 2**n
        assert exact_p_of_better(first, second) == pytest.approx(tail)
        if first > second:
            assert 2 * exact_p_of_better(first, second) == pytest.approx(mcnemar(first, second)[0])


def test_a_challenger_is_promoted_only_where_it_is_ahead_by_the_margin_and_hardly_by_chance() -> None:
    assert verdict("x" * 20, "." * 10 + "x" * 10)[0]  # 10 : 0
    promote, reason = verdict("x" * 4 + "." * 36, "." * 40)  # 4 : 0, p = 1/16
    assert not promote
    assert reason.startswith("The difference may be chance: +10.0 points on 40 videos (4 that the challenger")
    assert verdict("x" * 5 + "." * 35, "." * 40)[0]  # 5 : 0, p = 1/32
    promote, reason = verdict("x" * 5 + "." * 35, "." * 40, CRITERIA.model_copy(update={"margin": 13.0}))
    assert not promote
    assert reason.startswith("The challenger is not better by 13 points: +12.5 points")
    assert verdict("x" * 5 + "." * 35, "." * 40, CRITERIA.model_copy(update={"margin": 12.5}))[0]


def test_a_challenger_that_is_worse_or_the_same_never_is() -> None:
    generous = CRITERIA.model_copy(update={"margin": 0.0, "alpha": 0.5})
    assert not verdict("." * 10 + "x" * 10, "x" * 20, generous)[0]
    assert not verdict("x" * 20, "x" * 20, generous)[0]


def test_a_first_champion_must_beat_guessing_the_most_frequent_class() -> None:
    assert verdict("x" * 18 + ".." * 1, None)[0]
    promote, reason = verdict("x" * 12 + "." * 8, None)  # 60 %, but its interval holds a half
    assert not promote
    assert "guessing the most frequent class would get 50.0%" in reason


def test_what_was_rolled_back_is_not_promoted_however_good_it_is() -> None:
    figures = weigh(labels(20), answers("x" * 20), answers("." * 20))
    assert conclude(figures, CRITERIA)[0]
    promote, reason = conclude(figures, CRITERIA, rolled_back="2026-11-20T08:00:00+00:00")
    assert not promote
    assert reason == "The challenger was rolled back on 2026-11-20T08:00:00+00:00: only a person promotes it again."


def test_both_are_judged_on_the_same_videos_and_those_that_one_learned_from_are_left_out() -> None:
    challenger, champion = answers("xxxxxx-...", learned=("v00", "t1")), answers("x.xxx.x..-", learned=("v01", "v02"))
    figures = weigh(labels(10, 3), challenger, champion)
    assert (figures.annotated, figures.judged, figures.learned, figures.unanswered) == (10, 5, 3, 2)
    assert (figures.only_challenger, figures.only_champion) == (1, 0)  # of v03 v04 v05 v07 v08
    assert figures.challenger_top1.value == pytest.approx(3 / 5)
    assert figures.champion_top1 is not None
    assert figures.champion_top1.value == pytest.approx(2 / 5)
    assert figures.most_frequent == 1.0
    swapped = weigh(labels(10, 3), champion, challenger)
    assert swapped.clips_sha256 == figures.clips_sha256
    assert weigh(labels(9, 3), challenger, champion).clips_sha256 == figures.clips_sha256
    assert weigh(labels(8, 3), challenger, champion).clips_sha256 != figures.clips_sha256


def test_where_nothing_is_left_to_judge_on_it_says_why() -> None:
    with pytest.raises(
        ConfigError, match=r"no video is left to judge on: of 3 annotated ones the models learned from 2"
    ):
        weigh(labels(3), answers("xx-", learned=("v00", "v01")), None)


def test_only_other_models_data_or_criteria_make_another_decision() -> None:
    one, two = (Contestant(version=v, model=f"models:/m-{v}", snapshot_id="s") for v in (1, 2))
    first = decision_id("dancing", "s", two, one, CRITERIA)
    assert first == decision_id("dancing", "s", two.model_copy(update={"version": 9}), one, CRITERIA)
    others = [
        decision_id("dancing", "t", two, one, CRITERIA),
        decision_id("dancing", "s", one, two, CRITERIA),
        decision_id("dancing", "s", two, None, CRITERIA),
        decision_id("dancing", "s", two, one, CRITERIA.model_copy(update={"alpha": 0.01})),
    ]
    assert len({first, *others}) == 5


HERE = frozenset((f"c{number}", "a") for number in range(100))


@pytest.mark.parametrize(
    ("changes", "known", "age", "train", "reason"),
    [
        ({}, 99, 1.0, True, "1 of 100 training clips are new"),
        ({}, 100, 1.0, False, "0 of 100 training clips are new, fewer than min_new_clips, 1"),
        ({"min_new_clips": 10}, 91, 1.0, False, "9 of 100 training clips are new, fewer than min_new_clips, 10"),
        ({"min_new_clips": 10}, 90, 1.0, True, "10 of 100 training clips are new"),
        (
            {"min_new_share": 0.2},
            84,
            1.0,
            False,
            "16 of 100 training clips are new, fewer than 20.0% (min_new_share) of",
        ),
        ({"min_new_share": 0.2}, 80, 1.0, True, "20 of 100 training clips are new"),
        ({"max_age_days": 28}, 100, 27.9, False, "0 of 100"),
        ({"max_age_days": 28}, 100, 28.0, True, "the last training is 28.0 days old (0 of 100 training clips are new)"),
        ({"force": True}, 100, 0.0, True, "force is set"),
    ],
)
def test_a_challenger_is_due_by_new_clips_by_the_calendar_or_when_told(
    changes: dict[str, Any], known: int, age: float, train: bool, reason: str
) -> None:
    found = due(config(**changes), HERE, sorted(HERE)[:known], has_champion=True, age_days=age)
    assert found.train is train
    assert found.reason.startswith(reason)


def test_without_a_champion_a_challenger_is_due() -> None:
    found = due(config(min_new_clips=1000), HERE, HERE, has_champion=False, age_days=None)
    assert (found.train, found.reason) == (True, "dancing has no champion (0 of 100 training clips are new)")


def test_what_can_be_trained_on_is_ok_labelled_and_of_the_split() -> None:
    rows = [
        {"clip_id": "a", "label": "x", "split": "train", "status": "ok"},
        {"clip_id": "b", "label": "x", "split": "train", "status": "failed"},
        {"clip_id": "c", "label": None, "split": "train", "status": "ok"},
        {"clip_id": "d", "label": "y", "split": "test", "status": "ok"},
    ]
    assert training_clips(pa.Table.from_pylist(rows, schema=MANIFEST), "train") == {("a", "x")}


def made(name: str, figures: Figures, decided_at: str = "2026-11-21T03:00:00+00:00", **changes: Any) -> Decision:
    one, two = (Contestant(version=v, model=f"models:/m-{v}", snapshot_id="s") for v in (1, 2))
    given = {
        "decision_id": name, "model_name": "dancing", "dataset": "tiny", "snapshot_id": "s", "challenger": two,
        "champion": one, "criteria": CRITERIA, "figures": figures, "promote": True, "reason": "Because.",
        "trained_because": "it was due", "decided_at": decided_at,
    }  # fmt: skip
    return Decision(**{**given, **changes})


def test_a_decision_is_written_once_and_pending_until_it_is_closed(tmp_path: Path) -> None:
    kept, figures = records.folder(str(tmp_path), "dancing"), weigh(labels(4), answers("xx.."), answers("x..."))
    assert records.pending(kept) == []
    first = records.write(kept, made("b", figures))
    again = records.write(kept, made("b", figures, "2026-12-24T00:00:00+00:00", promote=False))
    assert again == first == records.find(kept, "b")
    assert records.find(kept, "a") is None
    older = records.write(kept, made("a", figures, "2026-11-20T03:00:00+00:00"))
    with records.moving_aliases(kept):  # its lease is no decision
        assert records.pending(kept) == [older, first]
    records.close(kept, "a", Outcome.OVERTAKEN)
    assert (records.outcome_of(kept, "a"), records.outcome_of(kept, "b")) == (Outcome.OVERTAKEN, None)
    assert records.pending(kept) == [first]
    records.reopen(kept, "a")
    assert records.pending(kept) == [older, first]


def test_a_decision_on_a_bucket_is_found_as_well(bucket: str) -> None:
    kept, figures = records.folder(bucket, "dancing"), weigh(labels(4), answers("xx.."), None)
    assert records.pending(kept) == []
    written = records.write(kept, made("b", figures, champion=None))
    assert records.pending(kept) == [written]
    records.close(kept, "b", Outcome.PROMOTED)
    assert records.pending(kept) == []


def test_people_are_told_the_figures_and_machines_as_well() -> None:
    decision = made("d", weigh(labels(20), answers("x" * 20), answers("." * 10 + "x" * 10)))
    text = markdown(Retrained("dancing", "tiny", "s", Outcome.PROMOTED, "Because.", decision, "/store/d"))
    assert "**dancing: promoted.** Because." in text
    assert "| challenger, top-1 | version 2: 100.0% (95 % CI 83.9–100.0) |" in text
    assert "| difference | +50.0 points, 2 wanted |" in text
    logged = metrics(decision)
    assert (logged["difference_points"], logged["only_challenger"], logged["promoted"]) == (50.0, 10.0, 1.0)
    assert logged["p"] == pytest.approx(1 / 1024)
    assert "champion_top1" not in metrics(made("d", weigh(labels(4), answers("xx.."), None), champion=None))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"training": {"model": "cnn_lstm", "snapshot": "x"}},
            "setting 'training.snapshot' is settled by the retraining",
        ),
        ({"training": {"model": "resnet"}}, "model 'resnet' is unknown"),
        ({"training": {"model": "cnn_lstm", "optim": {"rate": 1}}}, "setting 'training.optim.rate' does not exist"),
        (
            {"training": {"model": "cnn_lstm", "data": {"train_split": "test"}}},
            "split 'test' is the one that is trained",
        ),
        (
            {"split": "val", "training": {"model": "cnn_lstm", "optim": {"keep": "best"}}},
            "choose an epoch by split 'val', which the models are judged on",
        ),
        ({"ingest": {"annotations": {"path": "a.csv"}}}, "setting 'ingest.sources' is missing"),
        ({"ingest": {"dataset": "x"}}, "setting 'ingest.dataset' is settled by the retraining itself"),
    ],
)
def test_a_wrong_setting_is_one_line(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as error:
        config(**changes)
    assert "\n" not in str(error.value)


def test_nothing_is_ingested_where_a_snapshot_is_named() -> None:
    ingest = {"annotations": {"path": "videos"}, "sources": [{"kind": "folder", "path": "videos"}]}
    assert config(ingest=ingest).ingest_settings() == {**ingest, "store": None, "dataset": "tiny"}
    assert config(ingest=ingest, snapshot="0123456789abcdef").ingest_settings() is None
    assert config().ingest_settings() is None
    assert config().train_config("0123456789abcdef").snapshot == "0123456789abcdef"
