"""Training as Prefect tasks: settle what is to be done, fit, and hand the model to MLflow."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks import ray_train
from tasks.page import places_of_data, places_of_run, show_run
from tasks.progress import board, relayed
from tasks.waiting import Needs, told_while_waiting
from vidclf import tracking
from vidclf.config import TrainConfig
from vidclf.models.checkpoint import read_card
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store
from vidclf.training.checks import check
from vidclf.training.claim import claimed, is_finished
from vidclf.training.work import TrainingWork, settle


@task(name="settle training", task_run_name="settle {config.model} on {config.dataset}", cache_policy=NO_CACHE)
def settle_training(config: TrainConfig) -> TrainingWork:
    """What is trained on what, under which name.

    Raises:
        ConfigError: there is no such snapshot, the settings do not fit together or the data, or the cluster is too small.
        TrackingError: MLflow does not answer.
    """
    tracking.check_answers()
    work = settle(config)
    check(work)
    ray_train.scaling_of(config)
    get_run_logger().info("%s on snapshot %s of %s", work.name, work.snapshot_id, config.dataset)
    return work


@task(name="fit model", task_run_name="fit {work.name}", cache_policy=NO_CACHE)
def fit_model(work: TrainingWork) -> str:
    """Train, unless it was done before; the URI of the checkpoint.

    Raises:
        LeaseHeld: somebody else trains just this.
        TrainingFailed: it did not end; run again to go on from its last state.
    """
    config = work.config
    with claimed(work) as lease:
        if is_finished(work) and (finished := tracking.find_finished(config.experiment, work.name)):
            board.put(f"train {config.model}", 1, 1, "finished before")
            get_run_logger().info("%s is finished already, nothing is done again: %s", work.name, work.model_uri)
            _show(work, finished)
            return work.model_uri
        snapshot = read_snapshot(dataset_store(work.store, config.dataset), work.snapshot_id)
        params = config.model_dump(mode="json", exclude={"store"})
        run_id = tracking.open_run(config.experiment, work.name, params, snapshot, config.dataset, work.store)
        with tracking.ending(run_id):
            if not is_finished(work):
                board.put(f"train {config.model}", 0, None, "starting Ray Train")
                with told_while_waiting([f"train {config.model}"], _needs(config)), relayed() as report:
                    ray_train.fit(work, run_id, report)
            lease.check()
            board.put(f"train {config.model}", 1, 1, "trained; logging the model to MLflow")
            tracking.log_model(run_id, Store(work.model_uri))
    _show(work, run_id)
    return work.model_uri


def _needs(config: TrainConfig) -> Needs:
    scaling = ray_train.scaling_of(config)
    each = scaling.resources_per_worker or {}
    return Needs(config.num_workers * each.get("CPU", 0), config.num_workers * each.get("GPU", 0))


def _show(work: TrainingWork, run_id: str) -> None:
    results = read_card(work.model_uri).results
    data = dataset_store(work.store, work.config.dataset)
    show_run(
        f"{work.config.model}: top-1 {results['val_top1']:.1%} on the validation videos, epoch {results['best_epoch']:.0f}",
        {"model": work.model_uri, **places_of_run(run_id), **places_of_data(data, work.snapshot_id)},
    )
