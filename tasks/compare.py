"""The comparison as Prefect tasks: ask every model about the same videos, then lay the answers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.evaluate import ask, checkpoint_uri
from tasks.page import places_of_data, places_of_run, show_run
from tasks.watch import artifact_key
from vidclf import tracking
from vidclf.config import CompareConfig, fingerprint
from vidclf.evaluation import comparison, report
from vidclf.evaluation.approaches import approach
from vidclf.evaluation.comparison import Comparison
from vidclf.evaluation.judge import Question
from vidclf.evaluation.paired import compare_pairs
from vidclf.evaluation.verdict import Verdict, verdict
from vidclf.home import default_store
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store


@task(name="judge models", cache_policy=NO_CACHE)
def judge_models(config: CompareConfig, model_uris: Mapping[str, str]) -> list[Question]:
    """Score the held-out split with every model, once more in shuffled order where the control is asked for.

    Raises:
        ConfigError: the snapshot has no such split, or a model is not there.
        TrackingError: MLflow does not answer.
    """
    tracking.check_answers()
    store = Store(config.store or default_store()).uri
    snapshot = read_snapshot(dataset_store(store, config.dataset), config.snapshot)
    questions = [
        Question(
            name, checkpoint_uri(uri, store), store, config.dataset, snapshot.snapshot_id, config.split,
            config.num_ensemble_views, config.num_spatial_crops, order, config.seed,
        )
        for name, uri in model_uris.items()
        for order in (("stored", "shuffled") if config.shuffle_control else ("stored",))
    ]  # fmt: skip
    ask(questions, config.judging)
    return questions


@task(name="lay side by side", cache_policy=NO_CACHE)
def publish_comparison(config: CompareConfig, questions: list[Question]) -> Comparison:
    """Make the table, the charts and the report, for Prefect and for MLflow."""
    verdicts = {question.key: verdict(question, config.seed) for question in questions}
    stored = [found for found in verdicts.values() if found.question.frame_order == "stored"]
    compared = _compared(config, stored, verdicts)
    best_first = [verdicts[f"{one.name}/stored"] for one in compared.approaches]
    text = comparison.markdown(compared)
    question = stored[0].question
    params = config.model_dump(mode="json", exclude={"store", "judging"})
    name = f"compare-{config.dataset}-{config.split}-{fingerprint([params, question.snapshot_id])}"
    data = dataset_store(question.store, config.dataset)
    page = report.write_report(data, best_first, config.report, comparison.caption(compared), compared)
    Store(question.store).write_bytes(f"comparisons/{name}/report.html", page)
    get_run_logger().info("report: %s", compared.report)
    create_markdown_artifact(key=artifact_key("comparison", config.dataset), markdown=text)
    snapshot = read_snapshot(data, question.snapshot_id)
    run_id = tracking.open_run(config.experiment, name, params, snapshot, config.dataset, question.store)
    with tracking.ending(run_id):
        tracking.log_table(run_id, comparison.as_rows(compared), "comparison.json")
        if compared.pairs:
            tracking.log_table(run_id, [vars(pair) for pair in compared.pairs], "pairs.json")
        tracking.log_text(run_id, text, "comparison.md")
        tracking.log_text(run_id, page.decode(), "report.html")
        tracking.log_figure(run_id, comparison.figure(compared), "comparison.png")
        tracking.log_figure(run_id, comparison.cost_figure(compared), "accuracy_and_cost.png")
        for found in stored:
            for path, figure in report.figures(found).items():
                tracking.log_figure(run_id, figure, f"{found.name}/{path}")
        tracking.log_metrics(run_id, {f"{a.name}.video_top1": a.video_top1.value for a in compared.approaches})
    models = {f"model {found.name}": found.question.model_uri for found in best_first}
    places = {"report": compared.report, **places_of_run(run_id), **models}
    show_run(comparison.caption(compared), {**places, **places_of_data(data, question.snapshot_id)})
    return compared


def _compared(config: CompareConfig, stored: Sequence[Verdict], verdicts: Mapping[str, Verdict]) -> Comparison:
    question = stored[0].question
    approaches = [approach(one, verdicts.get(f"{one.name}/shuffled"), config.opposites) for one in stored]
    ranked = comparison.ranked(approaches)
    right = {one.name: verdicts[f"{one.name}/stored"].right for one in ranked}
    params = config.model_dump(mode="json", exclude={"store", "judging"})
    name = f"compare-{config.dataset}-{config.split}-{fingerprint([params, question.snapshot_id])}"
    covered = stored[0].evaluation.coverage
    return Comparison(
        dataset=config.dataset,
        snapshot_id=question.snapshot_id,
        split=config.split,
        num_ensemble_views=config.num_ensemble_views,
        num_classes=len(stored[0].classes),
        missing=covered.unscored if covered else 0,
        opposites=config.opposites,
        approaches=ranked,
        num_spatial_crops=config.num_spatial_crops,
        pairs=compare_pairs(right),
        report=f"{question.store}/comparisons/{name}/report.html",
    )
