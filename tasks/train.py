"""Training as Prefect tasks: settle what is to be done, fit, and hand the model to MLflow."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks import ray_train
from tasks.progress import board
from vidclf import tracking
from vidclf.config import TrainConfig
from vidclf.models import checkpoint
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store
from vidclf.training.work import TrainingWork, open_training_data, settle


@task(name="settle training", cache_policy=NO_CACHE)
def settle_training(config: TrainConfig) -> TrainingWork:
    """What is trained on what, under which name.

    Raises:
        ConfigError: there is no such snapshot, or the settings do not fit together.
    """
    work = settle(config)
    open_training_data(work)  # what is wrong with it is said here, and not by every worker
    get_run_logger().info("%s on snapshot %s of %s", work.name, work.snapshot_id, config.dataset)
    return work


@task(name="fit model", task_run_name="fit {work.name}", cache_policy=NO_CACHE)
def fit_model(work: TrainingWork) -> str:
    """Train, unless it was done before; the URI of the checkpoint.

    Raises:
        TrainingFailed: it did not end; run again to go on from its last epoch.
    """
    store, config = Store(work.store), work.config
    if config.fast_dev_run:  # the try before this one
        store.delete_folder(work.model_path)
        store.delete_folder(work.training_path)
    done = checkpoint.exists(store, work.model_path)
    if done and tracking.find_finished(config.experiment, work.name):
        board.put(f"train {config.model}", 1, 1, "finished before")
        get_run_logger().info("%s is finished already: %s", work.name, work.model_uri)
        return work.model_uri
    snapshot = read_snapshot(dataset_store(work.store, config.dataset), work.snapshot_id)
    params = config.model_dump(mode="json", exclude={"store"})
    run_id = tracking.open_run(config.experiment, work.name, params, snapshot, config.dataset, work.store)
    try:
        if not done:
            board.put(f"train {config.model}", 0, None, "starting Ray Train")
            ray_train.fit(work, run_id)
        board.put(f"train {config.model}", 1, 1, "trained; logging the model to MLflow")
        tracking.log_model(run_id, Store(work.model_uri))
    except BaseException:
        tracking.finish(run_id, "FAILED")
        raise
    tracking.finish(run_id)
    return work.model_uri
