"""Compare: several approaches on one snapshot, judged on the same held-out videos."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from flows.train import train
from tasks.cluster import cluster
from tasks.compare import judge_models, publish_comparison
from vidclf.config import CompareConfig, JudgingConfig, ReportingConfig, Split, parse
from vidclf.evaluation.comparison import Comparison


@flow(name="compare", flow_run_name="compare on {dataset}")
def compare(
    dataset: str,
    approaches: dict[str, dict[str, Any] | None],
    store: str | None = None,
    snapshot: str = "latest",
    split: Split = "test",
    num_ensemble_views: int = 3,
    num_spatial_crops: Literal[1, 3] = 1,
    shuffle_control: bool = False,
    opposites: tuple[str, str] | None = None,
    judging: JudgingConfig = JudgingConfig(),
    report: ReportingConfig = ReportingConfig(),
    seed: int = 0,
    fast_dev_run: bool = False,
    experiment: str = "vidclf",
) -> Comparison:
    """Train what is not trained yet, ask every model about the held-out videos, and lay the answers side by side."""
    config = parse(CompareConfig, dict(locals()))
    with cluster():
        models = {name: train(**training.model_dump()) for name, training in config.trainings().items()}
        return publish_comparison(config, judge_models(config, {**config.trained(), **models}))
