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
    "Tally",
    "accuracy",
    "accuracy_between",
    "confusion_matrix",
    "evaluate",
    "macro_f1",
    "mean_class_accuracy",
    "tally",
    "video_predictions",
    "wilson_interval",
]

Counts = NDArray[np.int64]

VIDEOS = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("num_views", pa.int32()),
        pa.field("label_id", pa.int32()),
        pa.field("probabilities", pa.list_(pa.float32())),
        pa.field("seconds", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Tally:
    """Predictions, video by video: what all numbers are made of."""

    videos: pa.Table  # clip_id, num_views, label_id, probabilities (mean over the views), seconds (their sum)
    views: Counts  # per video
    right1: Counts  # of a video's views, those that are right
    right5: Counts  # likewise, among the first five
    first_error: str  # of a video that could not be scored; empty: there is none

    @property
    def answers(self) -> Counts:
        """The likeliest label_id of each video."""
        return ranking(arrays(self.videos)[0])[:, 0]


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
    return tally(predictions).videos


def tally(predictions: pa.Table | Iterable[pa.Table]) -> Tally:
    """Predictions by video, from one table or from several with whole videos each, which are read one after the other."""
    videos, counts, first_error = [VIDEOS.empty_table()], [np.zeros((3, 0), dtype=np.int64)], ""
    for table in [predictions] if isinstance(predictions, pa.Table) else predictions:
        scored = _scored(table)
        if len(scored) < len(table) and not first_error:
            bad = table.filter(pc.not_equal(table["status"], "ok")).slice(0, 1).to_pylist()[0]
            first_error = f"{bad['clip_id']} is {bad['status']}: {bad['message']}"
        if len(scored):
            together, tallied = _by_video(scored)
            videos.append(together)
            counts.append(tallied)
    views, right1, right5 = np.concatenate(counts, axis=1)
    return Tally(pa.concat_tables(videos), views, right1, right5, first_error)


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
    predictions: pa.Table | Iterable[pa.Table] | Tally,
    classes: Sequence[str],
    coverage: Coverage | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """All numbers.

    Args:
        predictions: ``vidclf.evaluation.scoring.PREDICTIONS``, or what ``tally`` made of it.
        classes: of the model, in the order of its outputs.
        coverage: what could not be scored.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ConfigError: no video was scored; says why the first was not.
    """
    counted = predictions if isinstance(predictions, Tally) else tally(predictions)
    videos = counted.videos
    if not len(videos):
        raise ConfigError(f"there is no video to judge{f': {counted.first_error}' if counted.first_error else ''}")
    probabilities, label_ids = arrays(videos)
    answers = ranking(probabilities)[:, 0]
    right, top5 = answers == label_ids, len(classes) > 5
    num_right = int(right.sum())

    def over_classes(number: Callable[[Counts, Counts, int], float]) -> Estimate:
        def statistic(drawn: Counts) -> float:
            return number(label_ids[drawn], answers[drawn], len(classes))

        return bootstrap(statistic, len(videos), seed=seed, resamples=resamples)

    def over_views(of_video: Counts) -> Estimate:
        def statistic(drawn: Counts) -> float:
            return float(of_video[drawn].sum() / counted.views[drawn].sum())

        return bootstrap(statistic, len(videos), n=int(counted.views.sum()), seed=seed, resamples=resamples)

    return Evaluation(
        videos=len(videos),
        views_per_video=int(counted.views.max()),
        video_top1=Accuracy.of(num_right, len(videos)),
        video_top5=accuracy(videos, 5) if top5 else None,
        clip_top1=over_views(counted.right1),
        clip_top5=over_views(counted.right5) if top5 else None,
        mean_class_accuracy=over_classes(mean_class_accuracy),
        macro_f1=over_classes(macro_f1),
        calibration=calibration(probabilities.max(axis=1), right, seed=seed, resamples=resamples),
        per_class=_per_class(label_ids, answers, classes),
        confusion=_confusion(label_ids, answers, len(classes)).tolist(),
        seconds_per_video=float(videos["seconds"].to_numpy().mean()),
        coverage=coverage,
        top1_if_missing_wrong=Accuracy.of(num_right, coverage.annotated) if coverage else None,
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


def _by_video(scored: pa.Table) -> tuple[pa.Table, Counts]:
    """``VIDEOS`` in the order of first appearance; per video its views, and how many are right in the first place and
    among the first five (3, videos)."""
    names, first, group, views = np.unique(
        scored["clip_id"].to_numpy(zero_copy_only=False).astype(str),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    order = np.argsort(first)
    probabilities, label_ids = arrays(scored)
    together = np.argsort(group, kind="stable")
    sums = np.add.reduceat(probabilities[together], np.cumsum(views) - views, axis=0, dtype=np.float64)
    columns = {
        "clip_id": names[order],
        "num_views": views[order],
        "label_id": label_ids[first[order]],
        "probabilities": list((sums / views[:, None]).astype(np.float32)[order]),
        "seconds": np.bincount(group, scored["seconds"].to_numpy(), len(names))[order],
    }
    right = [np.bincount(group, _right(scored, k), len(names)).astype(np.int64)[order] for k in (1, 5)]
    table = pa.table({field.name: pa.array(columns[field.name], field.type) for field in VIDEOS}, VIDEOS)
    return table, np.stack([views[order], *right])


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
