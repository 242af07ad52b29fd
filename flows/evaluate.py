"""Evaluate: one model, trained or published, is asked about a split, and what it said is accounted for."""

from __future__ import annotations

from typing import Literal

from prefect import flow

from tasks.cluster import cluster
from tasks.evaluate import ask_model, publish_evaluation, settle_question
from tasks.notify import tell_of_failure
from tasks.watch import shown_in_prefect
from vidclf.config import DataConfig, EvaluateConfig, JudgingConfig, ReportingConfig, Split, parse
from vidclf.evaluation.summary import Evaluated


@flow(
    name="evaluate",
    flow_run_name="evaluate {model} on {dataset}",
    on_failure=[tell_of_failure],
    on_crashed=[tell_of_failure],
)
def evaluate(
    dataset: str,
    model: str,
    weights: str | None = None,
    store: str | None = None,
    snapshot: str = "latest",
    split: Split = "test",
    data: DataConfig = DataConfig(),
    num_ensemble_views: int = 3,
    num_spatial_crops: Literal[1, 3] = 1,
    sample: int | None = None,
    judging: JudgingConfig = JudgingConfig(),
    report: ReportingConfig = ReportingConfig(),
    seed: int = 0,
    experiment: str = "vidclf",
) -> Evaluated:
    """Find the model and the videos, ask about every view of every video, and count what came of it."""
    config = parse(EvaluateConfig, dict(locals()))
    with cluster(), shown_in_prefect(dataset):
        question = settle_question(config)
        ask_model(config, question)
        return publish_evaluation(config, question)
