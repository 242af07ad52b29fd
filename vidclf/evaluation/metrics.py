"""Everything that is said about one model on one split, from what it said about every view."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vidclf.errors import ConfigError
from vidclf.evaluation.calibration import Calibration, calibration
from vidclf.evaluation.coverage import Coverage
from vidclf.evaluation.intervals import RESAMPLES, Accuracy, Estimate, bootstrap, wilson_interval

__all__ = [
    "Accuracy",
    "ClassScore",
    "Estimate",
    "Evaluation",
    "accuracy",
    "accuracy_between",
    "confusion_matrix",
    "evaluate",
    "macro_f1",
    "mean_class_accuracy",
    "video_predictions",
    "wilson_interval",
]

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassScore:
    """One class."""

    recall: Accuracy | None  # share of its videos that are found; None: it has no video
    precision: Accuracy | None  # share of its answers that are right; None: it was never the answer
    f1: float  # 0 where it was never found


@dataclass(frozen=True)
class Evaluation:
    """Numbers of one model on one split. Intervals are Wilson's for shares of videos, else bootstrapped by video."""

    videos: int
    views_per_video: int
    video_top1: Accuracy
    video_top5: Accuracy | None  # None where there are five classes or fewer: it could not be wrong
    clip_top1: Estimate  # of single views; N counts views, whole videos are resampled
    clip_top5: Estimate | None
    mean_class_accuracy: Estimate  # mean recall of the classes that have videos
    macro_f1: Estimate  # mean F1 of the classes that have videos
    calibration: Calibration  # of videos
    per_class: dict[str, ClassScore]  # classes that have a video or an answer
    confusion: list[list[int]]  # videos; row: truth, column: answer
    seconds_per_video: float  # the model's time for all views of a video
    coverage: Coverage | None = None
    top1_if_missing_wrong: Accuracy | None = None  # every annotated video that could not be scored counted as wrong

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def video_predictions(predictions: pa.Table) -> pa.Table:
    """One row per video that was scored: probabilities are the mean over its views, seconds the sum.

    Columns: clip_id, num_views, label_id, probabilities, seconds; in the order of first appearance.
    """
    return _tally([predictions])[0]


def accuracy(table: pa.Table, k: int = 1) -> Accuracy:
    """Share of rows whose truth is among the ``k`` likeliest; rows are views or videos that were scored.

    Ties go to the lower label id, never to the truth.
    """
    right = _right(_scored(table), k)
    return Accuracy.of(int(right.sum()), len(right))


def confusion_matrix(videos: pa.Table, num_classes: int) -> Counts:
    """Counts (num_classes, num_classes): row is the truth, column the answer."""
    probabilities, label_ids = arrays(videos)
    return _confusion(label_ids, ranking(probabilities)[:, 0], num_classes)


def accuracy_between(videos: pa.Table, classes: Sequence[str], first: str, second: str) -> Accuracy:
    """Among videos of two classes, how often the right one of the two is likelier, whatever the others get.

    Raises:
        ConfigError: a class is unknown, or there is no video of either.
    """
    unknown = [name for name in (first, second) if name not in classes]
    if unknown:
        raise ConfigError(f"class {unknown[0]!r} is unknown; there are: {', '.join(classes)}")
    pair = np.array([classes.index(first), classes.index(second)])
    probabilities, label_ids = arrays(videos)
    of_pair = np.isin(label_ids, pair)
    answers = pair[ranking(probabilities[of_pair][:, pair])[:, 0]]
    return Accuracy.of(int((answers == label_ids[of_pair]).sum()), int(of_pair.sum()))


def mean_class_accuracy(label_ids: Counts, answers: Counts, num_classes: int) -> float:
    """Mean recall of the classes that have videos; scikit-learn calls it balanced accuracy."""
    hits, asked, _ = _counts(label_ids, answers, num_classes)
    return float((hits[asked > 0] / asked[asked > 0]).mean())


def macro_f1(label_ids: Counts, answers: Counts, num_classes: int) -> float:
    """Mean F1 of the classes that have videos, 0 for one that was never found."""
    hits, asked, said = _counts(label_ids, answers, num_classes)
    return float(_f1(hits, asked, said)[asked > 0].mean())


def evaluate(
    predictions: pa.Table | Iterable[pa.Table],
    classes: Sequence[str],
    coverage: Coverage | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """All numbers from predictions, in one table or in several with whole videos each.

    Args:
        predictions: ``vidclf.evaluation.scoring.PREDICTIONS``.
        classes: of the model, in the order of its outputs.
        coverage: what could not be scored.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ConfigError: no video was scored; says why the first was not.
    """
    tables = [predictions] if isinstance(predictions, pa.Table) else predictions
    videos, views, first_error = _tally(tables)
    if not len(videos):
        raise ConfigError(f"there is no video to judge{f': {first_error}' if first_error else ''}")
    probabilities, label_ids = arrays(videos)
    answers = ranking(probabilities)[:, 0]
    top5 = len(classes) > 5
    right = answers == label_ids
    videos_right = int(right.sum())

    def over_classes(number: Callable[[Counts, Counts, int], float]) -> Estimate:
        def statistic(drawn: Counts) -> float:
            return number(label_ids[drawn], answers[drawn], len(classes))

        return bootstrap(statistic, len(videos), seed=seed, resamples=resamples)

    return Evaluation(
        videos=len(videos),
        views_per_video=int(views["views"].max()),
        video_top1=Accuracy.of(videos_right, len(videos)),
        video_top5=accuracy(videos, 5) if top5 else None,
        clip_top1=_of_views(views["right1"], views["views"], seed, resamples),
        clip_top5=_of_views(views["right5"], views["views"], seed, resamples) if top5 else None,
        mean_class_accuracy=over_classes(mean_class_accuracy),
        macro_f1=over_classes(macro_f1),
        calibration=calibration(probabilities.max(axis=1), right, seed=seed, resamples=resamples),
        per_class=_per_class(label_ids, answers, classes),
        confusion=_confusion(label_ids, answers, len(classes)).tolist(),
        seconds_per_video=float(videos["seconds"].to_numpy().mean()),
        coverage=coverage,
        top1_if_missing_wrong=Accuracy.of(videos_right, coverage.annotated) if coverage else None,
    )


def arrays(table: pa.Table) -> tuple[NDArray[np.float32], Counts]:
    """Of scored rows: probabilities (rows, num_classes), label ids (rows,)"""
    lists = table["probabilities"].combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    rows = len(table)
    label_ids = table["label_id"].to_numpy().astype(np.int64)
    return flat.reshape(rows, -1 if rows else 0), label_ids


def ranking(probabilities: NDArray[np.floating]) -> Counts:
    """Label ids from the likeliest on (rows, num_classes)."""
    return np.argsort(-probabilities, axis=1, kind="stable")


def _scored(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["status"], "ok")) if "status" in table.column_names else table


def _right(scored: pa.Table, k: int) -> NDArray[np.bool_]:
    probabilities, label_ids = arrays(scored)
    if not len(scored):
        return np.zeros(0, dtype=bool)
    return np.asarray((ranking(probabilities)[:, :k] == label_ids[:, None]).any(axis=1))


def _tally(tables: Iterable[pa.Table]) -> tuple[pa.Table, dict[str, Counts], str]:
    """Scored videos; per video how many views and how many of them are right in the first place and in the first five;
    the first error. One table at a time is turned into numbers."""
    videos, counts, first_error = [], [], ""
    for table in tables:
        scored = _scored(table)
        if len(scored) < len(table) and not first_error:
            bad = table.filter(pc.not_equal(table["status"], "ok")).slice(0, 1).to_pylist()[0]
            first_error = f"{bad['clip_id']} is {bad['status']}: {bad['message']}"
        if not len(scored):
            continue
        names, first, group, views = np.unique(
            scored["clip_id"].to_numpy(zero_copy_only=False).astype(str),
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        order = np.argsort(first)  # by first appearance
        probabilities, label_ids = arrays(scored)
        together = np.argsort(group, kind="stable")
        sums = np.add.reduceat(probabilities[together], np.cumsum(views) - views, dtype=np.float64)
        means = (sums / views[:, None]).astype(np.float32)[order]
        seconds = np.bincount(group, scored["seconds"].to_numpy(), len(names))[order]
        videos.append(
            pa.table(
                {
                    "clip_id": pa.array(names[order], pa.string()),
                    "num_views": pa.array(views[order], pa.int32()),
                    "label_id": pa.array(label_ids[first[order]], pa.int32()),
                    "probabilities": pa.array(list(means), pa.list_(pa.float32())),
                    "seconds": pa.array(seconds, pa.float64()),
                }
            )
        )
        right = [np.bincount(group, _right(scored, k), len(names)).astype(np.int64)[order] for k in (1, 5)]
        counts.append(np.stack([views[order], *right]))
    summed = np.concatenate(counts, axis=1) if counts else np.zeros((3, 0), dtype=np.int64)
    found = pa.concat_tables(videos) if videos else pa.table({"clip_id": pa.array([], pa.string())})
    return found, dict(zip(("views", "right1", "right5"), summed, strict=True)), first_error


def _of_views(right: Counts, views: Counts, seed: int, resamples: int) -> Estimate:
    def share(drawn: Counts) -> float:
        return float(right[drawn].sum() / views[drawn].sum())

    return bootstrap(share, len(views), n=int(views.sum()), seed=seed, resamples=resamples)


def _confusion(label_ids: Counts, answers: Counts, num_classes: int) -> Counts:
    return np.bincount(label_ids * num_classes + answers, minlength=num_classes**2).reshape(num_classes, num_classes)


def _counts(label_ids: Counts, answers: Counts, num_classes: int) -> tuple[Counts, Counts, Counts]:
    """Per class: videos that were found, videos, answers."""
    hits = np.bincount(label_ids[answers == label_ids], minlength=num_classes)
    return hits, np.bincount(label_ids, minlength=num_classes), np.bincount(answers, minlength=num_classes)


def _f1(hits: Counts, asked: Counts, said: Counts) -> NDArray[np.float64]:
    either = asked + said
    f1: NDArray[np.float64] = np.divide(2 * hits, either, out=np.zeros(len(hits)), where=either > 0)
    return f1


def _per_class(label_ids: Counts, answers: Counts, classes: Sequence[str]) -> dict[str, ClassScore]:
    hits, asked, said = _counts(label_ids, answers, len(classes))
    f1 = _f1(hits, asked, said)
    return {
        name: ClassScore(
            Accuracy.of(int(hits[i]), int(asked[i])) if asked[i] else None,
            Accuracy.of(int(hits[i]), int(said[i])) if said[i] else None,
            float(f1[i]),
        )
        for i, name in enumerate(classes)
        if asked[i] or said[i]
    }
