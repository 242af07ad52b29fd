"""Numbers of an evaluation: as scikit-learn counts them, and as worked examples in the literature do."""

from __future__ import annotations

import warnings

import numpy as np
import pyarrow as pa
import pytest

from tests.vidclf.test_metrics import scores
from vidclf.errors import ConfigError
from vidclf.evaluation.calibration import bin_of, calibration
from vidclf.evaluation.coverage import Coverage, annotated, cover, outcomes
from vidclf.evaluation.intervals import bootstrap, wilson_interval
from vidclf.evaluation.labels import kinetics400_classes, match_labels
from vidclf.evaluation.metrics import evaluate, video_predictions
from vidclf.evaluation.paired import compare_pairs, holm, mcnemar
from vidclf.evaluation.scoring import PREDICTIONS


def random_predictions(seed: int, videos: int, views: int, num_classes: int, missing_classes: int = 0) -> pa.Table:
    """Probabilities that lean to the truth a little; some classes never occur."""
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, num_classes - missing_classes, videos)
    rows = []
    for number, truth in enumerate(truths):
        for view in range(views):
            logits = rng.normal(size=num_classes)
            logits[truth] += 1.2
            likely = np.exp(logits) / np.exp(logits).sum()
            rows.append((f"v{number:04d}", view, int(truth), likely.tolist()))
    return scores(*rows)


@pytest.mark.thorough
@pytest.mark.parametrize(("num_classes", "missing"), [(2, 0), (5, 1), (12, 3)])
def test_every_number_is_scikit_learns(num_classes: int, missing: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    table = random_predictions(num_classes, 150, 3, num_classes, missing)
    judged = evaluate(table, [f"c{i:02d}" for i in range(num_classes)], resamples=10)
    videos = video_predictions(table)
    likely, truth = np.array(videos["probabilities"].to_pylist()), np.array(videos["label_id"].to_pylist())
    said, labels = likely.argmax(axis=1), list(range(num_classes))
    present = sorted(set(truth.tolist()))
    views, of_view = np.array(table["probabilities"].to_pylist()), np.array(table["label_id"].to_pylist())

    assert judged.video_top1.value == pytest.approx(metrics.accuracy_score(truth, said), abs=1e-12)
    assert judged.clip_top1.value == pytest.approx(metrics.accuracy_score(of_view, views.argmax(axis=1)), abs=1e-12)
    if num_classes > 5:
        top5 = metrics.top_k_accuracy_score(truth, likely, k=5, labels=labels)
        clip_top5 = metrics.top_k_accuracy_score(of_view, views, k=5, labels=labels)
        assert judged.video_top5 is not None
        assert judged.clip_top5 is not None
        assert judged.video_top5.value == pytest.approx(top5, abs=1e-12)
        assert judged.clip_top5.value == pytest.approx(clip_top5, abs=1e-12)
    assert judged.confusion == metrics.confusion_matrix(truth, said, labels=labels).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of answers that are never a truth
        balanced = metrics.balanced_accuracy_score(truth, said)
    assert judged.mean_class_accuracy.value == pytest.approx(balanced, abs=1e-12)
    f1 = metrics.f1_score(truth, said, labels=present, average="macro", zero_division=0)
    assert judged.macro_f1.value == pytest.approx(f1, abs=1e-12)
    precision, recall, each_f1, support = metrics.precision_recall_fscore_support(
        truth, said, labels=labels, zero_division=0
    )
    for label in present:
        score = judged.per_class[f"c{label:02d}"]
        assert score.recall is not None
        assert (score.recall.value, score.recall.n) == (pytest.approx(recall[label]), support[label])
        assert (score.precision.value if score.precision else 0) == pytest.approx(precision[label])
        assert score.f1 == pytest.approx(each_f1[label])


def test_wilsons_interval_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    for successes, n in [(0, 7), (3, 11), (103, 108), (500, 1000)]:
        theirs = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
        assert wilson_interval(successes, n) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


def test_mcnemar_is_the_one_in_the_literature() -> None:
    # Fagerland, Lydersen & Laake 2013, BMC Medical Research Methodology 13:91: airway hyper-responsiveness before and
    # after stem cell transplantation (Bentur et al. 2009), 1 and 7 discordant pairs of 21: exact 0.070, mid-p 0.039
    exact, mid = mcnemar(1, 7)
    assert (exact, mid) == (pytest.approx(0.0703, abs=5e-5), pytest.approx(0.0391, abs=5e-5))
    assert mcnemar(7, 1) == (exact, mid)


def test_mcnemar_is_a_binomial_test_and_its_mid_p_counts_what_was_seen_half() -> None:
    stats = pytest.importorskip("scipy.stats")
    for first, second in [(0, 1), (3, 3), (6, 16), (40, 61), (700, 800)]:
        n, fewer = first + second, min(first, second)
        exact, mid = mcnemar(first, second)
        assert exact == pytest.approx(stats.binomtest(first, n, 0.5).pvalue)
        seen = stats.binom.pmf(fewer, n, 0.5)
        half = 2 * stats.binom.cdf(fewer, n, 0.5) - seen if first != second else 1 - seen / 2
        assert mid == pytest.approx(half)
    assert mcnemar(0, 0) == (1.0, 1.0)


def test_many_discordant_videos_are_no_trouble() -> None:
    exact, mid = mcnemar(9_800, 10_200)
    assert 0.004 < mid < exact < 0.006


def test_pairs_are_of_the_videos_that_both_answered_and_adjusted_for_their_number() -> None:
    a = {"1": True, "2": True, "3": False, "4": True}
    b = {"1": True, "2": False, "3": False, "5": True}
    (pair,) = compare_pairs({"a": a, "b": b})
    assert (pair.both, pair.only_first, pair.only_second, pair.neither, pair.n) == (1, 1, 0, 1, 3)
    assert pair.difference == pytest.approx(1 / 3)
    assert len(compare_pairs({"a": a, "b": b, "c": a})) == 3
    with pytest.raises(ConfigError, match="no video in common"):
        compare_pairs({"a": {"1": True}, "b": {"2": True}})


def test_holms_adjustment_is_the_one_in_the_literature() -> None:
    # Holm 1979: 4 · 0.01, 3 · 0.02, 2 · 0.03, 1 · 0.04, none less than the one before; as R's p.adjust says
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_the_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    # 4 answers with 0.9, of which 2 are right; 6 with 0.55, of which 3 are right: (4·|0.5-0.9| + 6·|0.5-0.55|) / 10
    confidences = np.array([0.9] * 4 + [0.55] * 6)
    right = np.array([True, True, False, False] + [True, False] * 3)
    found = calibration(confidences, right, resamples=50)
    assert found.ece.value == pytest.approx(0.19)
    assert found.ece.low <= 0.19 <= found.ece.high
    assert [(one.accuracy.n, one.confidence) for one in found.bins] == [
        (6, pytest.approx(0.55)),
        (4, pytest.approx(0.9)),
    ]


def test_a_model_that_means_what_it_says_has_no_calibration_error() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.3, 1, 20_000)
    assert calibration(confidences, rng.random(20_000) < confidences, resamples=20).ece.value < 0.015
    assert calibration(confidences, rng.random(20_000) < confidences**3, resamples=20).ece.value > 0.1


def test_bins_are_open_below_and_closed_above() -> None:
    assert bin_of(np.array([0.0, 0.1, 0.2, 0.200001, 1.0]), 5).tolist() == [0, 0, 0, 1, 4]


def test_the_bootstrap_draws_whole_videos_and_the_same_ones_for_the_same_seed() -> None:
    values = np.random.default_rng(1).random(200)
    first = bootstrap(lambda drawn: float(values[drawn].mean()), 200, seed=3)
    assert first == bootstrap(lambda drawn: float(values[drawn].mean()), 200, seed=3)
    assert first != bootstrap(lambda drawn: float(values[drawn].mean()), 200, seed=4)
    error = values.std(ddof=1) / np.sqrt(200)
    assert (first.high - first.low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    assert first.low < first.value < first.high


def test_views_of_one_video_do_not_make_its_interval_narrower() -> None:
    alone = random_predictions(0, 60, 1, 3)
    rows = [row | {"view": view} for row in alone.to_pylist() for view in range(20)]
    often = pa.Table.from_pylist(rows, schema=PREDICTIONS)
    one, twenty = (evaluate(table, ["a", "b", "c"]).clip_top1 for table in (alone, often))
    assert (one.n, twenty.n) == (60, 1200)
    assert (one.low, one.high) == (pytest.approx(twenty.low), pytest.approx(twenty.high))


def test_a_model_without_a_mistake_is_not_taken_for_certain() -> None:
    table = scores(*[(f"v{number}", 0, number % 2, [1.0 - number % 2, number % 2]) for number in range(20)])
    judged = evaluate(table, ["a", "b"])
    assert judged.mean_class_accuracy.value == 1.0
    assert judged.mean_class_accuracy.low == pytest.approx(judged.video_top1.low)


def manifest(*rows: tuple[str, str | None, str, str | None]) -> pa.Table:
    """clip_id, label, status, error_kind; all in the split test"""
    names = ("clip_id", "label", "status", "error_kind")
    schema = pa.schema([(name, pa.string()) for name in (*names, "split")])
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) | {"split": "test"} for row in rows], schema=schema)


def test_every_annotated_video_is_scored_or_has_a_reason() -> None:
    rows = annotated(
        manifest(
            ("a", "x", "ok", None), ("b", "x", "failed", "gone"), ("c", "z", "ok", None), ("d", "y", "ok", None),
            ("e", "y", "ok", None), ("f", None, "unlabelled", None), ("a", "x", "ok", None), ("g", "y", "ok", None),
        ),
        "test",
    )  # fmt: skip
    ends = outcomes(rows, {"x": "x", "y": "y"}, ["d"], {"a": "ok", "e": "crashed"})
    assert cover(rows, ends) == Coverage(
        annotated=6,
        scored=1,
        reasons={"crashed": 1, "gone": 1, "not_scored": 1, "removed": 1, "unknown_class": 1},
        unknown_classes={"z": 1},
    )


def test_missing_videos_counted_as_wrong_lower_the_accuracy() -> None:
    table = scores(("a", 0, 0, [0.9, 0.1]), ("b", 0, 1, [0.1, 0.9]))
    judged = evaluate(table, ["x", "y"], Coverage(8, 2, {"gone": 6}, {}), resamples=10)
    assert judged.video_top1.value == 1.0
    assert judged.top1_if_missing_wrong is not None
    assert (judged.top1_if_missing_wrong.value, judged.top1_if_missing_wrong.n) == (0.25, 8)


def test_a_sample_is_drawn_by_its_seed_from_all_annotated_videos() -> None:
    rows = manifest(*[(f"v{n}", "x", "failed" if n % 2 else "ok", "gone" if n % 2 else None) for n in range(400)])
    first, again, other = (annotated(rows, "test", 100, seed)["clip_id"].to_pylist() for seed in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) == 100
    failed = sum(int(name[1:]) % 2 for name in first)
    assert 35 <= failed <= 65
    assert len(annotated(rows, "test", 1000)) == 400


def test_the_classes_of_kinetics_400_are_in_the_order_of_the_published_weights() -> None:
    classes = kinetics400_classes()
    assert len(set(classes)) == 400
    # from https://dl.fbaipublicfiles.com/pyslowfast/dataset/class_names/kinetics_classnames.json
    published = {"abseiling": 0, "bench pressing": 19, "changing wheel": 53, "cutting nails": 81, "deadlifting": 88}
    published |= {"eating ice cream": 115, "sharpening knives": 290, "zumba": 399}
    assert {name: classes.index(name) for name in published} == published


def test_labels_are_matched_by_name_and_those_that_are_not_known_are_named() -> None:
    found = match_labels(["Robot_Dancing", "salsa dancing", "mosh pit dancing"], ["salsa dancing", "robot dancing"])
    assert found.known == {"Robot_Dancing": "robot dancing", "salsa dancing": "salsa dancing"}
    assert found.unknown == ("mosh pit dancing",)
    assert match_labels(["A b"], ["a b", "a-b", "c", "A b"]).known == {"A b": "A b"}
    with pytest.raises(ConfigError, match="the model knows none of the 1 classes: its own are x, y, …"):
        match_labels(["z"], ["x", "y"])


def test_labels_that_could_be_two_classes_are_not_guessed() -> None:
    assert match_labels(["a_b", "c"], ["a b", "a-b", "c"]).unknown == ("a_b",)
