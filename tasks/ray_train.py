"""Training on Ray Train: what each worker does, and how the driver starts them. Imports no Prefect."""

from __future__ import annotations

import contextlib
from itertools import count
from typing import Any

import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from tasks.cluster import num_gpus, smallest_node_cpus
from tasks.progress import Reporter
from vidclf import memory
from vidclf.config import TrainConfig
from vidclf.errors import ConfigError, VidclfError
from vidclf.storage import Store
from vidclf.training.work import TrainingWork

MAX_FAILURES = 3  # workers that may die, each time going on from the last state


class TrainingFailed(VidclfError):
    """Training ended before its last epoch."""

    kind = "training"


def fit(work: TrainingWork, mlflow_run_id: str, report: Reporter) -> None:
    """Train on the cluster until the checkpoint ``work.model_path`` is there; an interrupted training goes on.

    A worker that dies is replaced. An error of ours, which the next worker would meet again, is raised at once: Ray Train,
    which counts both alike, is told to try nothing twice.

    Args:
        report: called after every step, by the first worker.

    Raises:
        ConfigError: the cluster has not what the configuration asks for.
        TrainingFailed: it did not end.
    """
    scaling = scaling_of(work.config)
    for failures in count():
        try:
            _trainer(work, mlflow_run_id, report, scaling).fit()
            return
        except ray.train.TrainingFailedError as error:
            found = explained(error)
            if failures == MAX_FAILURES or not isinstance(found, TrainingFailed):
                raise found from error


def _trainer(work: TrainingWork, mlflow_run_id: str, report: Reporter, scaling: ScalingConfig) -> TorchTrainer:
    return TorchTrainer(
        train_worker,
        train_loop_config={"work": work, "mlflow_run_id": mlflow_run_id, "report": report},
        scaling_config=scaling,
        run_config=run_config_of(work, scaling.use_gpu),
    )


def run_config_of(work: TrainingWork, use_gpu: bool) -> RunConfig:
    """Nothing is tried twice by Ray Train. On a CPU the workers, who train in a thread, keep their tensors' memory."""
    return RunConfig(
        name=work.name,
        failure_config=FailureConfig(max_failures=0),
        worker_runtime_env=None if use_gpu else {"env_vars": memory.ENVIRONMENT},
        **_storage(work),
    )


def scaling_of(config: TrainConfig) -> ScalingConfig:
    """Workers and what each has.

    Raises:
        ConfigError: it is more than the cluster has.
    """
    use_gpu = num_gpus() > 0 if config.use_gpu is None else config.use_gpu
    if use_gpu and num_gpus() < config.num_workers:
        raise ConfigError(f"num_workers is {config.num_workers}, one GPU each, and the cluster has {num_gpus()}")
    cpus = config.cpus_per_worker or max(1, smallest_node_cpus() // config.num_workers)
    available = int(ray.cluster_resources().get("CPU", 0))
    if cpus * config.num_workers > available:
        raise ConfigError(f"num_workers is {config.num_workers}, {cpus} CPUs each, and the cluster has {available}")
    return ScalingConfig(
        num_workers=config.num_workers,
        use_gpu=use_gpu,
        resources_per_worker={"CPU": cpus, **({"GPU": 1} if use_gpu else {})},
    )


def train_worker(given: dict[str, Any]) -> None:
    """One worker's part of a training, from the last state on the store. The first one tracks it and writes the model."""
    from vidclf import tracking
    from vidclf.training.reports import EpochReport
    from vidclf.training.run import run_training

    work: TrainingWork = given["work"]
    report: Reporter = given["report"]
    rank = _rank()
    run = tracking.TrainingRun(given["mlflow_run_id"]) if rank.is_first else None
    said = ""

    def on_epoch(epoch: EpochReport, numbers: dict[str, float]) -> None:
        nonlocal said
        said = f", val {epoch.val_top1:.0%}"
        ray.train.report(numbers)

    def on_step(done: int, total: int, text: str) -> None:
        if rank.is_first:
            report(f"train {work.config.model}", done, total, text + said)

    with run.system_metrics() if run is not None else contextlib.nullcontext():
        run_training(work, rank, on_epoch, on_step, run)


def _rank() -> Any:
    """This worker among the others, with the threads that it was given."""
    import torch

    from vidclf.training.rank import Rank

    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    cpus = max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))
    if device.type == "cpu":
        torch.set_num_threads(cpus)
    return Rank(device, context.get_world_rank(), context.get_world_size(), cpus)


def _storage(work: TrainingWork) -> dict[str, Any]:
    """Where Ray Train keeps its own notes: beside the states, on any store."""
    store = Store(work.store)
    path = store.full(f"{work.training_path}/ray")
    if store.is_local:
        return {"storage_path": path}
    import pyarrow.fs

    return {
        "storage_path": path,
        "storage_filesystem": pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(store.fs)),
    }


def explained(error: BaseException) -> VidclfError:
    """The error of ours inside Ray Train's, or ``TrainingFailed`` with the last thing that was said."""
    failures = list(getattr(error, "worker_failures", {}).values())
    for failure in failures:
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, VidclfError):
                return cause
            cause = cause.__cause__ or getattr(cause, "cause", None)
    last = str(failures[0] if failures else error).strip().splitlines()[-1]
    return TrainingFailed(f"training failed: {last}")
