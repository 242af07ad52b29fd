"""Compare: several approaches on one snapshot, judged on the same held-out videos."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow
from prefect.runtime import flow_run

from flows.train import train
from tasks.cluster import cluster
from tasks.compare import judge_models, publish_comparison
from tasks.notify import tell_of_failure
from tasks.watch import shown_in_prefect
from vidclf.config import CompareConfig, JudgingConfig, ReportingConfig, Split, parse
from vidclf.evaluation.comparison import Comparison


def _run_name() -> str:
    parameters = flow_run.parameters
    approaches = [name for name, approach in parameters["approaches"].items() if approach is not None]
    return f"compare {', '.join(approaches)} on {parameters['dataset']}"


@flow(name="compare", flow_run_name=_run_name, on_failure=[tell_of_failure], on_crashed=[tell_of_failure])
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
    with cluster(), shown_in_prefect(dataset):
        models = {name: train(**training.model_dump()) for name, training in config.trainings().items()}
        return publish_comparison(config, judge_models(config, {**config.trained(), **models}))
