"""Verdicts as rows of a comparison."""

from __future__ import annotations

from vidclf.evaluation.comparison import Approach
from vidclf.evaluation.metrics import accuracy_between
from vidclf.evaluation.verdict import Verdict


def approach(found: Verdict, shuffled: Verdict | None, opposites: tuple[str, str] | None) -> Approach:
    """One row.

    Args:
        found: of the videos as they are.
        shuffled: of the same with their frames out of order, where that was asked.
        opposites: two labels to tell apart, where that was asked.

    Raises:
        ConfigError: the model has no such label.
    """
    judged = found.evaluation
    pairs = {}
    if opposites:
        pairs["opposites_top1"] = accuracy_between(found.tally.videos, found.classes, *opposites)
        if shuffled:
            pairs["opposites_shuffled_top1"] = accuracy_between(shuffled.tally.videos, found.classes, *opposites)
    return Approach(
        name=found.name,
        model=found.card.model,
        video_top1=judged.video_top1,
        clip_top1=judged.clip_top1,
        parameters=found.cost.parameters,
        train_seconds=found.train_seconds,
        inference_ms=1000 * judged.seconds_per_video,
        shuffled_top1=shuffled.evaluation.video_top1 if shuffled else None,
        video_top5=judged.video_top5,
        mean_class_accuracy=judged.mean_class_accuracy,
        macro_f1=judged.macro_f1,
        ece=judged.calibration.ece,
        top1_if_missing_wrong=judged.top1_if_missing_wrong,
        gflops=found.cost.gflops * found.num_views,
        **pairs,
    )
