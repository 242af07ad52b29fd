"""The comparison as Prefect tasks: ask every model about the same videos, then lay the answers side by side."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pyarrow as pa
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.cluster import num_gpus, smallest_node_cpus
from tasks.fanout import fan_out
from tasks.progress import relayed
from tasks.ray_judge import answer_on_worker
from tasks.watch import artifact_key
from vidclf import tracking
from vidclf.config import CompareConfig, fingerprint
from vidclf.evaluation import comparison
from vidclf.evaluation.comparison import Approach, Comparison
from vidclf.evaluation.judge import Question, classes_of
from vidclf.evaluation.metrics import accuracy_between, evaluate, video_predictions
from vidclf.home import default_store
from vidclf.models.checkpoint import load, read_card
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store

TIMEOUT_SECONDS = 24 * 3600.0


@task(name="judge models", cache_policy=NO_CACHE)
def judge_models(config: CompareConfig, model_uris: Mapping[str, str]) -> list[Question]:
    """Score the held-out split with every model, once more in shuffled order where the control is asked for.

    Raises:
        ConfigError: the snapshot has no such split.
    """
    store = Store(config.store or default_store()).uri
    snapshot = read_snapshot(dataset_store(store, config.dataset), config.snapshot)
    questions = [
        Question(
            name,
            uri,
            store,
            config.dataset,
            snapshot.snapshot_id,
            config.split,
            config.num_ensemble_views,
            order,
            config.seed,
        )
        for name, uri in model_uris.items()
        for order in (("stored", "shuffled") if config.shuffle_control else ("stored",))
    ]
    with relayed() as report:
        ask = partial(answer_on_worker, report)
        cpus, gpus = smallest_node_cpus(), min(1, num_gpus())
        for settled in fan_out(ask, questions, timeout=TIMEOUT_SECONDS, cpus=cpus, gpus=gpus):
            if settled.error is not None:
                raise settled.error
            get_run_logger().info("%s: %d scores, %.1f s", settled.job.key, settled.value, settled.seconds)
    return questions


@task(name="lay side by side", cache_policy=NO_CACHE)
def publish_comparison(config: CompareConfig, questions: list[Question]) -> Comparison:
    """Make the table and the chart, for Prefect and for MLflow."""
    stored = [question for question in questions if question.frame_order == "stored"]
    shuffled = {question.name: question for question in questions if question.frame_order == "shuffled"}
    approaches = [_approach(config, question, shuffled.get(question.name)) for question in stored]
    snapshot = read_snapshot(dataset_store(stored[0].store, config.dataset), stored[0].snapshot_id)
    compared = Comparison(
        dataset=config.dataset,
        snapshot_id=snapshot.snapshot_id,
        split=config.split,
        num_ensemble_views=config.num_ensemble_views,
        num_classes=len(snapshot.classes),
        missing=_missing(snapshot.clips, config.split),
        opposites=config.opposites,
        approaches=comparison.ranked(approaches),
    )
    text = comparison.markdown(compared)
    create_markdown_artifact(key=artifact_key("comparison", config.dataset), markdown=text)
    params = config.model_dump(mode="json", exclude={"store"})
    name = f"compare-{config.dataset}-{config.split}-{fingerprint([params, snapshot.snapshot_id])}"
    run_id = tracking.open_run(config.experiment, name, params, snapshot, config.dataset, stored[0].store)
    tracking.log_table(run_id, comparison.as_rows(compared), "comparison.json")
    tracking.log_text(run_id, text, "comparison.md")
    tracking.log_figure(run_id, comparison.figure(compared), "comparison.png")
    tracking.log_metrics(run_id, {f"{a.name}.video_top1": a.video_top1.value for a in approaches})
    tracking.finish(run_id)
    return compared


def _approach(config: CompareConfig, question: Question, shuffled: Question | None) -> Approach:
    card, classes = read_card(question.model_uri), classes_of(question)
    scores = _scores(question)
    judged = evaluate(scores, classes)
    model, _ = load(question.model_uri)
    pairs = {}
    if config.opposites:
        pairs["opposites_top1"] = accuracy_between(video_predictions(scores), classes, *config.opposites)
        if shuffled:
            pairs["opposites_shuffled_top1"] = accuracy_between(
                video_predictions(_scores(shuffled)), classes, *config.opposites
            )
    return Approach(
        name=question.name,
        model=card.model,
        video_top1=judged.video_top1,
        clip_top1=judged.clip_top1,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        train_seconds=card.results["train_seconds"],
        inference_ms=1000 * judged.seconds_per_video,
        shuffled_top1=evaluate(_scores(shuffled), classes).video_top1 if shuffled else None,
        **pairs,
    )


def _scores(question: Question) -> pa.Table:
    return Store(question.model_uri).read_table(question.scores_path)


def _missing(clips: pa.Table, split: str) -> int:
    rows = clips.select(["split", "status"]).to_pylist()
    return sum(row["split"] == split and row["status"] == "failed" for row in rows)
