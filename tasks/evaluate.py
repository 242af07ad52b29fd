"""Evaluation as Prefect tasks: find the model, ask it, and make of its answers what people and machines read."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks import ray_judge
from tasks.page import places_of_data, places_of_run, show_run
from tasks.progress import board
from tasks.waiting import Needs, told_while_waiting
from tasks.watch import artifact_key
from vidclf import tracking
from vidclf.config import EvaluateConfig, JudgingConfig, fingerprint
from vidclf.evaluation import report, summary
from vidclf.evaluation.answers import answers_table, as_csv
from vidclf.evaluation.judge import Question, open_blocks, open_clips
from vidclf.evaluation.published import published_checkpoint
from vidclf.evaluation.summary import Evaluated
from vidclf.evaluation.verdict import Verdict, verdict
from vidclf.home import default_store
from vidclf.models.checkpoint import CARD, TENSORS, read_card
from vidclf.scratch import scratch_folder
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store, absolute_uri

REGISTRY = "models:/"


@task(name="settle question", task_run_name="settle {config.model} on {config.dataset}", cache_policy=NO_CACHE)
def settle_question(config: EvaluateConfig) -> Question:
    """Which checkpoint is asked about which videos; a published model becomes a checkpoint first.

    Raises:
        ConfigError: there is no such model, snapshot or split, or the model knows none of its classes.
        TrackingError: MLflow does not answer.
    """
    tracking.check_answers()
    store = Store(config.store or default_store()).uri
    snapshot_id = read_snapshot(dataset_store(store, config.dataset), config.snapshot).snapshot_id
    if config.weights is None:
        name, uri = config.model.rstrip("/").rsplit("/", 1)[-1], checkpoint_uri(config.model, store)
    else:
        origin = None if config.weights == "kinetics400" else config.weights
        name = config.model
        uri = published_checkpoint(store, config.model, config.dataset, snapshot_id, config.data, origin)
    question = Question(
        name, uri, store, config.dataset, snapshot_id, config.split,
        config.num_ensemble_views, config.num_spatial_crops, seed=config.seed, sample=config.sample,
    )  # fmt: skip
    get_run_logger().info("%s: %d videos to ask about", uri, len(open_clips(question)))
    return question


def checkpoint_uri(model: str, store: str) -> str:
    """The address under which every worker finds a checkpoint: its own, or of a copy in the store where MLflow has it.

    Raises:
        ConfigError: there is no finished checkpoint.
    """
    if not model.startswith(REGISTRY):
        read_card(model)
        return absolute_uri(model.rstrip("/"))
    from vidclf.tracking.models import checkpoint_folder, pinned

    address = pinned(model)
    path = f"models/{address.removeprefix(REGISTRY)}"
    target = Store(store)
    if not target.exists(f"{path}/{CARD}"):
        with scratch_folder() as scratch:
            folder = checkpoint_folder(address, scratch)
            for name in (TENSORS, CARD):  # the card last: it says that the rest is there
                target.write_bytes(f"{path}/{name}", (folder / name).read_bytes())
    return f"{target.uri}/{path}"


@task(name="ask model", task_run_name="ask {question.name}", cache_policy=NO_CACHE)
def ask_model(config: EvaluateConfig, question: Question) -> None:
    """Let the model answer for every view of every video."""
    ask([question], config.judging)


def ask(questions: Sequence[Question], judging: JudgingConfig) -> None:
    """Answer the questions over the cluster, counted on the process's board."""
    for question in questions:
        left = sum(len(block.indices) for block in open_blocks(question))
        if left:
            board.expect(stage(question), left)
        else:
            board.put(stage(question), 1, 1, "answered before")

    def settled(question: Question, clips: int, failed: int) -> None:
        board.advance(stage(question), clips, failed)

    pool = ray_judge.Pool.of(judging)
    with told_while_waiting(
        [stage(question) for question in questions], Needs(pool.cpus, pool.gpus)
    ):  # for the first actor
        ray_judge.ask(questions, judging, settled)


def stage(question: Question) -> str:
    """What the display calls it."""
    return f"judge {question.name}" + (" shuffled" if question.frame_order == "shuffled" else "")


@task(name="publish evaluation", cache_policy=NO_CACHE)
def publish_evaluation(config: EvaluateConfig, question: Question) -> Evaluated:
    """Numbers, table, report and gallery: beside the predictions, in Prefect and in MLflow."""
    found = verdict(question, config.seed)
    came_to = summary.evaluated(found)
    text = summary.markdown(came_to)
    data, kept = dataset_store(question.store, question.dataset), Store(question.model_uri).at(question.folder)
    table = answers_table(found.rows, found.tally, found.classes, found.outcomes, config.report.top_k)
    pages = {"report.html": report.write_report(data, [found], config.report, came_to.caption)}
    if config.report.gallery:
        pages["gallery.html"] = report.write_gallery(data, found, config.report, config.seed)
    kept.write_table("answers.parquet", table)
    kept.write_bytes("answers.csv", as_csv(table))
    kept.write_json("evaluation.json", summary.as_json(found))
    for name, page in pages.items():
        kept.write_bytes(name, page)
    create_markdown_artifact(key=artifact_key("evaluation", config.dataset), markdown=text)
    run_id = _track(config, found, text, pages, as_csv(table))
    get_run_logger().info("report: %s/report.html", came_to.folder)
    show_run(
        came_to.caption,
        {
            "model": question.model_uri,
            "report": f"{came_to.folder}/report.html",
            **places_of_run(run_id),
            **places_of_data(data, question.snapshot_id),
        },
    )
    return came_to


def _track(config: EvaluateConfig, found: Verdict, text: str, pages: dict[str, bytes], table: bytes) -> str:
    question = found.question
    params = config.model_dump(mode="json", exclude={"store", "judging"})
    snapshot = read_snapshot(dataset_store(question.store, question.dataset), question.snapshot_id)
    name = f"evaluate-{question.name}-{config.dataset}-{config.split}-{fingerprint([params, question.snapshot_id])}"
    run_id = tracking.open_run(config.experiment, name, params, snapshot, config.dataset, question.store)
    with tracking.ending(run_id):
        tracking.log_metrics(run_id, summary.metrics(found.evaluation))
        tracking.log_text(run_id, text, "evaluation.md")
        tracking.log_text(run_id, table.decode(), "answers.csv")
        for path, page in pages.items():
            tracking.log_text(run_id, page.decode(), path)
        for path, figure in report.figures(found).items():
            tracking.log_figure(run_id, figure, path)
    return run_id
