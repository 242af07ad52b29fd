"""Accuracies, intervals, and how approaches are shown side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from vidclf.errors import ConfigError
from vidclf.evaluation.comparison import Approach, Comparison, as_rows, figure, markdown, ranked
from vidclf.evaluation.metrics import Accuracy, accuracy, accuracy_between, evaluate, video_predictions, wilson_interval
from vidclf.evaluation.scoring import PREDICTIONS

Row = tuple[str, int, int, Sequence[float]]


def scores(*rows: Row) -> pa.Table:
    """clip_id, view, label_id, probabilities"""
    names = ("clip_id", "view", "label_id", "probabilities")
    fixed = {"ensemble_view": 0, "spatial_crop": 0, "status": "ok", "seconds": 0.5}
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) | fixed for row in rows], schema=PREDICTIONS)


def test_wilsons_interval_is_the_one_in_the_literature() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3 (score, no continuity correction)
    for successes, n, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]:
        assert wilson_interval(successes, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilsons_interval_stays_within_what_is_possible_and_contains_the_share() -> None:
    for n in range(1, 60):
        for successes in range(n + 1):
            low, high = wilson_interval(successes, n)
            assert 0 <= low <= successes / n <= high <= 1
            assert low < high
    assert wilson_interval(29, 29)[1] == 1.0


def test_more_videos_or_less_confidence_make_it_narrower() -> None:
    def width(successes: int, n: int, confidence: float = 0.95) -> float:
        low, high = wilson_interval(successes, n, confidence)
        return high - low

    assert width(80, 100) < width(8, 10)
    assert width(8, 10, 0.8) < width(8, 10, 0.95)


def test_no_proportion_is_refused() -> None:
    for successes, n in [(0, 0), (3, 2), (-1, 5)]:
        with pytest.raises(ValueError, match="no proportion"):
            wilson_interval(successes, n)
    with pytest.raises(ConfigError, match="no video to judge"):
        Accuracy.of(0, 0)


def test_an_accuracy_says_what_it_is() -> None:
    assert str(Accuracy.of(103, 108)) == "95.4 % (N=108, 95 % CI 89.6–98.0)"


def test_a_videos_answer_is_the_mean_of_its_views_probabilities() -> None:
    table = scores(("a", 0, 0, [0.9, 0.1]), ("b", 0, 1, [0.6, 0.4]), ("a", 1, 0, [0.3, 0.7]), ("b", 1, 1, [0.2, 0.8]))
    videos = video_predictions(table)
    assert videos["clip_id"].to_pylist() == ["a", "b"]
    assert videos["num_views"].to_pylist() == [2, 2]
    assert videos["probabilities"].to_pylist() == [pytest.approx([0.6, 0.4]), pytest.approx([0.4, 0.6])]
    assert videos["seconds"].to_pylist() == [1.0, 1.0]


def test_accuracy_over_views_is_not_accuracy_over_videos() -> None:
    table = scores(("a", 0, 0, [0.9, 0.1]), ("a", 1, 0, [0.4, 0.6]), ("b", 0, 1, [0.6, 0.4]), ("b", 1, 1, [0.1, 0.9]))
    result = evaluate(table, ["x", "y"])
    assert (result.clip_top1.value, result.clip_top1.n) == (0.5, 4)
    assert (result.video_top1.value, result.video_top1.n) == (1.0, 2)
    assert result.views_per_video == 2


def test_a_tie_is_not_counted_as_right() -> None:
    table = scores(("a", 0, 1, [0.5, 0.5]), ("b", 0, 0, [0.5, 0.5]))
    assert accuracy(table).value == 0.5


def test_top5_counts_the_truth_among_five_and_is_left_out_where_it_cannot_be_wrong() -> None:
    six = [0.3, 0.25, 0.2, 0.15, 0.06, 0.04]
    result = evaluate(scores(("a", 0, 4, six), ("b", 0, 5, six)), list("uvwxyz"))
    assert result.video_top5 is not None
    assert result.video_top5.value == 0.5
    assert result.video_top1.value == 0.0
    assert evaluate(scores(("a", 0, 0, [0.5, 0.5])), ["x", "y"]).video_top5 is None


def test_confusion_rows_are_the_truth_and_classes_without_videos_have_no_accuracy() -> None:
    table = scores(("a", 0, 0, [0.1, 0.9, 0.0]), ("b", 0, 0, [0.9, 0.1, 0.0]), ("c", 0, 1, [0.1, 0.9, 0.0]))
    result = evaluate(table, ["x", "y", "z"])
    assert result.confusion == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    recalls = {name: score.recall and score.recall.value for name, score in result.per_class.items()}
    precisions = {name: score.precision and score.precision.value for name, score in result.per_class.items()}
    assert recalls == {"x": 0.5, "y": 1.0}
    assert precisions == {"x": 1.0, "y": 0.5}


def test_between_two_classes_only_their_two_probabilities_count() -> None:
    table = scores(
        ("a", 0, 0, [0.3, 0.1, 0.6]), ("b", 0, 1, [0.3, 0.1, 0.6]), ("c", 0, 2, [0.3, 0.1, 0.6])
    )  # all say z
    videos = video_predictions(table)
    between = accuracy_between(videos, ["x", "y", "z"], "x", "y")
    assert (between.value, between.n) == (0.5, 2)
    assert accuracy_between(videos, ["x", "y", "z"], "y", "x") == between
    assert accuracy_between(videos, ["x", "y", "z"], "z", "x").value == 0.5
    with pytest.raises(ConfigError, match="class 'w' is unknown"):
        accuracy_between(videos, ["x", "y", "z"], "w", "x")


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(ConfigError, match="no video to judge"):
        evaluate(PREDICTIONS.empty_table(), ["x", "y"])


def compared(*approaches: Approach) -> Comparison:
    return Comparison("dances", "ab12", "test", 3, 4, 5, None, ranked(approaches))


FRAMES = Approach("frames", "frame_cnn", Accuracy.of(30, 100), Accuracy.of(80, 300), 11_200_000, 60.0, 4.0)
MOTION = Approach(
    "motion", "x3d_xs", Accuracy.of(100, 100), Accuracy.of(290, 300), 3_000_000, 150.0, 9.5, Accuracy.of(40, 100)
)


def test_the_comparison_says_what_was_judged_and_ranks_with_intervals() -> None:
    sentence, _, *table = markdown(compared(FRAMES, MOTION)).strip().splitlines()
    assert sentence.startswith("dances, snapshot ab12, split test: 100 videos, 5 more are missing; 3 views each")
    assert sentence.endswith("chance is 25 %")
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1
    assert table[2].startswith("| motion (x3d_xs) | 100.0 % (96.3–100.0) | 96.7 % | 40.0 % (")
    assert "| – |" in table[3]
    row = as_rows(compared(FRAMES, MOTION))[0]
    assert (row["name"], row["video_top1"], row["video_top1_n"]) == ("motion", 1.0, 100)


def test_controls_that_nobody_asked_for_have_no_column() -> None:
    assert "shuffled" not in markdown(compared(FRAMES))
    told_apart = replace(MOTION, opposites_top1=Accuracy.of(50, 50), opposites_shuffled_top1=Accuracy.of(26, 50))
    text = markdown(replace(compared(told_apart), opposites=("left", "right")))
    assert "motion tells left from right in 100.0 % (92.9–100.0) of 50 videos" in text
    assert "with the frames shuffled in 52.0 % (" in text


def test_the_chart_has_a_bar_per_approach_its_control_and_the_line_of_chance() -> None:
    drawing = figure(compared(FRAMES, MOTION))
    axes: Any = drawing.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [100.0, 30.0, 40.0]
    assert any(list(line.get_ydata()) == [25.0, 25.0] for line in axes.lines)
    picture = io.BytesIO()
    drawing.savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")
