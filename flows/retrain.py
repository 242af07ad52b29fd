"""Retrain: ingest what is new, train a challenger where one is due, and promote it where it is better."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow

from flows.ingest import ingest as run_ingest
from flows.train import train
from tasks.announce import inside_retraining
from tasks.notify import tell_of_failure
from tasks.retrain import (
    carry_out,
    enter_challenger,
    finish_decided,
    judge,
    look_for_news,
    nothing_to_do,
    retraining,
    settle_snapshot,
)
from vidclf.config import JudgingConfig, ReportingConfig, RetrainConfig, parse
from vidclf.retraining.outcome import Retrained


@flow(
    name="retrain",
    flow_run_name="retrain {model_name} on {dataset}, snapshot {snapshot}",
    on_failure=[tell_of_failure],
    on_crashed=[tell_of_failure],
)
def retrain(
    dataset: str,
    model_name: str,
    training: dict[str, Any],
    ingest: dict[str, Any] | None = None,
    store: str | None = None,
    snapshot: str = "latest",
    split: Literal["val", "test"] = "test",
    num_ensemble_views: int = 3,
    num_spatial_crops: Literal[1, 3] = 1,
    min_new_clips: int = 1,
    min_new_share: float = 0.0,
    max_age_days: float | None = None,
    force: bool = False,
    margin: float = 1.0,
    alpha: float = 0.05,
    wait_hours: float = 12.0,
    judging: JudgingConfig = JudgingConfig(),
    report: ReportingConfig = ReportingConfig(),
    seed: int = 0,
    experiment: str = "vidclf",
) -> Retrained:
    """Finish what a killed run had decided; ingest, unless a snapshot is named; train, judge and move the aliases."""
    config = parse(RetrainConfig, dict(locals()))
    with retraining(config) as run:
        finish_decided(run)
        with inside_retraining():
            settings = config.ingest_settings()
            snapshot_id = settle_snapshot(run, run_ingest(**settings) if settings else snapshot)
        news = look_for_news(run, snapshot_id)
        if not news.train:
            return nothing_to_do(run, snapshot_id, f"No challenger is due: {news.reason}.")
        challenger = enter_challenger(run, train(**config.train_config(snapshot_id).model_dump()))
        if challenger is None:
            return nothing_to_do(run, snapshot_id, "What this training makes is the champion already.")
        retrained = None
        while retrained is None:  # a champion that somebody changed meanwhile is judged against in its turn
            retrained = carry_out(run, judge(run, snapshot_id, challenger, news.reason))
        return retrained
