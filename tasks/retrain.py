"""Retraining as Prefect tasks: is a challenger due, is it better than the champion, and which aliases move."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.cluster import cluster
from tasks.evaluate import ask, checkpoint_uri
from tasks.page import places_of_data, places_of_run, show_run
from tasks.progress import board
from tasks.watch import artifact_key
from vidclf import tracking
from vidclf.config import RetrainConfig
from vidclf.evaluation import report
from vidclf.evaluation.coverage import UNKNOWN_CLASS
from vidclf.evaluation.judge import Question
from vidclf.evaluation.verdict import Verdict, verdict
from vidclf.home import default_store
from vidclf.lease import Lease, LeaseHeld, hold
from vidclf.retraining import decision as deciding
from vidclf.retraining import outcome as saying
from vidclf.retraining import records
from vidclf.retraining.decision import Answers, Contestant, Criteria, Decision
from vidclf.retraining.news import Due, Labelled, due, training_clips
from vidclf.retraining.outcome import Outcome, Retrained
from vidclf.runs import new_run_id
from vidclf.snapshot import dataset_store, has_snapshot, read_snapshot
from vidclf.storage import Store
from vidclf.tracking import promotion, registry
from vidclf.tracking.promotion import CHALLENGER, CHAMPION

REPORT = "report.html"
STAGE = "retrain"  # what the display calls it


class Retraining:
    """What the tasks of one retraining share. Not a value; passed by reference."""

    def __init__(self, config: RetrainConfig, store: str, lease: Lease):
        self.config = config
        self.store = store  # root URI
        self.lease = lease
        self.data = dataset_store(store, config.dataset)
        self.records = records.folder(store, config.model_name)


@contextlib.contextmanager
def retraining(config: RetrainConfig) -> Iterator[Retraining]:
    """Hold the model's lease and a Ray cluster for the length of a run. Who comes second waits: its event is not lost.

    Raises:
        LeaseHeld: another retraining of the model has not come to an end within ``wait_hours``; the message says which.
    """
    store = Store(config.store or default_store()).uri
    run_id = new_run_id()

    def say(held: LeaseHeld) -> None:
        get_run_logger().warning("waiting for up to %g hours: %s", config.wait_hours, held)
        board.put(STAGE, 0, 1, f"waiting: {held}")

    place = records.folder(store, config.model_name)
    with hold(place, run_id, patience=3600 * config.wait_hours, on_wait=say) as lease, cluster():
        board.put(STAGE, 0, 1, "")
        yield Retraining(config, store, lease)


@task(name="finish what was decided", cache_policy=NO_CACHE)
def finish_decided(run: Retraining) -> None:
    """Carry out what a killed retraining had decided, as far as it still fits."""
    for decision in records.pending(run.records):
        if has_snapshot(dataset_store(run.store, decision.dataset), decision.snapshot_id):
            retrained = _carry_out(run, decision)
        else:
            retrained = None
            records.close(run.records, decision.decision_id, Outcome.OVERTAKEN)
        found = retrained.outcome if retrained else Outcome.OVERTAKEN
        get_run_logger().info("decision %s of %s: %s", decision.decision_id, decision.decided_at, found)


@task(name="look for news", cache_policy=NO_CACHE)
def look_for_news(run: Retraining, snapshot_id: str) -> Due:
    """Whether a challenger is due on this snapshot.

    Raises:
        ConfigError: there is no such snapshot.
    """
    config, now = run.config, promotion.by_alias(run.config.model_name)
    split = config.train_config(snapshot_id).data.train_split
    before = [now[alias] for alias in (CHAMPION, CHALLENGER) if alias in now]
    known: set[Labelled] = set()
    for one in before:
        if has_snapshot(run.data, one.snapshot_id):
            known |= training_clips(read_snapshot(run.data, one.snapshot_id).clips, split)
    here = training_clips(read_snapshot(run.data, snapshot_id).clips, split)
    age = min(((time.time() - one.registered_at) / 86400 for one in before), default=None)
    found = due(config, here, known, CHAMPION in now, age)
    get_run_logger().info("%s: %s", "a challenger is due" if found.train else "no challenger is due", found.reason)
    return found


@task(name="settle snapshot", cache_policy=NO_CACHE)
def settle_snapshot(run: Retraining, snapshot: str) -> str:
    """The id of the snapshot that is trained and judged on.

    Raises:
        ConfigError: there is no such snapshot.
    """
    return read_snapshot(run.data, snapshot).snapshot_id


@task(name="enter challenger", cache_policy=NO_CACHE)
def enter_challenger(run: Retraining, checkpoint: str) -> Contestant | None:
    """Make the trained model a version of the registered model; None: it is the champion already."""
    run.lease.check()
    entered = registry.register(checkpoint, run.config.model_name)
    if CHAMPION in entered.aliases:
        get_run_logger().info("%s is the champion already", entered.uri)
        return None
    return promotion.contestant(entered)


@task(name="judge", cache_policy=NO_CACHE)
def judge(run: Retraining, snapshot_id: str, challenger: Contestant, because: str) -> Decision:
    """Ask champion and challenger about the same videos, and decide. What was decided before stays as it is.

    Raises:
        ConfigError: no video is left to judge on, or a model knows none of the classes.
        LeaseLost: somebody else retrains the model.
    """
    config, criteria = run.config, Criteria.of(run.config)
    now = promotion.by_alias(config.model_name)
    champion = promotion.contestant(now[CHAMPION]) if CHAMPION in now else None
    name = deciding.decision_id(config.model_name, snapshot_id, challenger, champion, criteria)
    made = records.find(run.records, name)
    if made is not None:
        return made
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    questions = [_question(run, snapshot_id, role, one.model) for role, one in models.items()]
    ask(questions, config.judging)
    verdicts = {question.name: verdict(question, config.seed) for question in questions}
    said, notices = _answers(run, verdicts)
    rows = verdicts["challenger"].rows
    labels = dict(zip(rows["clip_id"].to_pylist(), rows["label"].to_pylist(), strict=True))
    figures = deciding.weigh(labels, said["challenger"], said.get("champion"))
    promote, reason = deciding.conclude(figures, criteria, promotion.rolled_back_at(challenger, config.model_name))
    run.lease.check()
    best_first = sorted(verdicts.values(), key=lambda one: -one.evaluation.video_top1.value)
    of = f"{reason} Decided on {figures.judged} videos; what follows is of all that could be asked about."
    run.records.write_bytes(f"{name}/{REPORT}", report.write_report(run.data, best_first, config.report, of))
    return records.write(
        run.records,
        Decision(
            decision_id=name,
            model_name=config.model_name,
            dataset=config.dataset,
            snapshot_id=snapshot_id,
            challenger=challenger,
            champion=champion,
            criteria=criteria,
            figures=figures,
            promote=promote,
            reason=reason,
            trained_because=because,
            notices=tuple(notices),
            decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )


@task(name="carry out", cache_policy=NO_CACHE)
def carry_out(run: Retraining, decision: Decision) -> Retrained | None:
    """Move the aliases, and tell Prefect and MLflow. None: the champion has changed since, so judge again.

    Raises:
        LeaseLost: somebody else retrains the model.
    """
    before = records.outcome_of(run.records, decision.decision_id)
    if before is Outcome.OVERTAKEN:
        records.reopen(run.records, decision.decision_id)
    elif before is not None:
        sentence = f"It was decided on {decision.decided_at} ({before}), and no alias moves again: {decision.reason}"
        return _told(run, _retrained(run, decision, Outcome.NOTHING, sentence))
    return _carry_out(run, decision)


@task(name="nothing to do", cache_policy=NO_CACHE)
def nothing_to_do(run: Retraining, snapshot_id: str, reason: str) -> Retrained:
    """Say why no challenger was judged."""
    config = run.config
    return _told(run, Retrained(config.model_name, config.dataset, snapshot_id, Outcome.NOTHING, reason))


def _question(run: Retraining, snapshot_id: str, role: str, model: str) -> Question:
    config = run.config
    return Question(
        role, checkpoint_uri(model, run.store), run.store, config.dataset, snapshot_id, config.split,
        config.num_ensemble_views, config.num_spatial_crops, seed=config.seed,
    )  # fmt: skip


def _answers(run: Retraining, verdicts: Mapping[str, Verdict]) -> tuple[dict[str, Answers], list[str]]:
    """Role → what it said. A video whose class a model does not have is one that it cannot get right."""
    found, notices = {}, []
    for role, one in verdicts.items():
        learned = _learned(run, one)
        if learned is None:
            notices.append(
                f"The {role} was trained on snapshot {one.card.snapshot_id}, which is not here any more: whether it learned"
                " from videos that it was judged on is not known."
            )
        unknown = {clip_id: False for clip_id, end in one.outcomes.items() if end == UNKNOWN_CLASS}
        found[role] = Answers({**one.right, **unknown}, learned or ())
        notices += one.notices
    return found, notices


def _learned(run: Retraining, one: Verdict) -> set[str] | None:
    """clip_ids that a model was trained on; None where its snapshot is not in the store."""
    trained = one.card.train_config
    data = dataset_store(run.store, trained.get("dataset", run.config.dataset))
    if not has_snapshot(data, one.card.snapshot_id):
        return None
    split = trained.get("data", {}).get("train_split", "train")
    return {clip_id for clip_id, _ in training_clips(read_snapshot(data, one.card.snapshot_id).clips, split)}


def _carry_out(run: Retraining, decision: Decision) -> Retrained | None:
    found = promotion.carry_out(decision, run.records, run.lease)
    retrained = None
    if found is not Outcome.OVERTAKEN:
        retrained = _retrained(run, decision, found, decision.reason)
        _told(run, retrained, _tracked(run, retrained, decision))
    records.close(run.records, decision.decision_id, found)
    return retrained


def _retrained(run: Retraining, decision: Decision, outcome: Outcome, sentence: str) -> Retrained:
    return Retrained(
        model_name=decision.model_name,
        dataset=decision.dataset,
        snapshot_id=decision.snapshot_id,
        outcome=outcome,
        sentence=sentence,
        decision=decision,
        folder=f"{run.records.uri}/{decision.decision_id}",
    )


def _told(run: Retraining, retrained: Retrained, run_id: str | None = None) -> Retrained:
    """Tell the log, the terminal and Prefect what it came to."""
    said = f"{retrained.model_name}: {retrained.outcome}. {retrained.sentence}"
    get_run_logger().info("%s", said)
    board.put(STAGE, 1, 1, str(retrained.outcome))
    create_markdown_artifact(key=artifact_key("retrain", retrained.model_name), markdown=saying.markdown(retrained))
    files = {name: f"{retrained.folder}/{name}" for name in (records.DECISION, REPORT) if retrained.folder}
    data = places_of_data(dataset_store(run.store, retrained.dataset), retrained.snapshot_id)
    show_run(said, {**files, **(places_of_run(run_id) if run_id else {}), **data})
    return retrained


def _tracked(run: Retraining, retrained: Retrained, decision: Decision) -> str:
    """The decision as a run of MLflow, made once; its id."""
    experiment, name = run.config.experiment, f"retrain-{decision.model_name}-{decision.decision_id}"
    if (finished := tracking.find_finished(experiment, name)) is not None:
        return finished
    params = decision.model_dump(mode="json", include={"model_name", "challenger", "champion", "criteria"})
    snapshot = read_snapshot(dataset_store(run.store, decision.dataset), decision.snapshot_id)
    run_id = tracking.open_run(experiment, name, params, snapshot, decision.dataset, run.store)
    with tracking.ending(run_id):
        tracking.log_metrics(run_id, saying.metrics(decision))
        tracking.log_tags(run_id, {"outcome": retrained.outcome, **saying.tags(decision)})
        tracking.log_text(run_id, decision.model_dump_json(indent=2), records.DECISION)
        tracking.log_text(run_id, saying.markdown(retrained), "decision.md")
        page = run.records.read_bytes(f"{decision.decision_id}/{REPORT}")
        tracking.log_text(run_id, page.decode(), REPORT)
    return run_id
