"""Training on Ray Train: what each worker does, and how the driver starts them. Imports no Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from tasks.cluster import num_gpus, smallest_node_cpus
from tasks.progress import Reporter, relayed
from vidclf.errors import ConfigError, VidclfError
from vidclf.scratch import scratch_folder
from vidclf.storage import Store
from vidclf.training.work import TrainingWork

STATE = "state.pt"
MAX_FAILURES = 3  # workers that may die, each time going on from the last checkpoint


class TrainingFailed(VidclfError):
    """Training ended before its last epoch."""

    kind = "training"


def fit(work: TrainingWork, mlflow_run_id: str) -> None:
    """Train on the cluster until the checkpoint ``work.model_path`` is there; an interrupted training goes on.

    Raises:
        ConfigError: the cluster has not what the configuration asks for.
        TrainingFailed: it did not end.
    """
    scaling = scaling_of(work)
    with relayed() as report:
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"work": work, "mlflow_run_id": mlflow_run_id, "report": report},
            scaling_config=scaling,
            run_config=RunConfig(
                name=work.name,
                failure_config=FailureConfig(max_failures=MAX_FAILURES),
                checkpoint_config=CheckpointConfig(num_to_keep=2),
                **_storage(Store(work.store)),
            ),
        )
        try:
            trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise explained(error) from error


def scaling_of(work: TrainingWork) -> ScalingConfig:
    """Workers and what each has.

    Raises:
        ConfigError: it is more than the cluster has.
    """
    config = work.config
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
    """One worker's part of a training. Rank 0 tracks it, and writes the checkpoint at the end."""
    import torch

    from vidclf import tracking
    from vidclf.models import checkpoint
    from vidclf.training.loop import EpochReport, initial_model, train, unwrap
    from vidclf.training.work import open_training_data

    work: TrainingWork = given["work"]
    report: Reporter = given["report"]
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))

    stage = f"train {work.config.model}"
    train_data, val_data = open_training_data(work)
    model: torch.nn.Module = initial_model(work.config, len(work.classes), work.view).to(device)
    if world_size > 1:
        model = ray.train.torch.prepare_model(model, move_to_device=False)
    state = _last_state()
    spent = float(state["train_seconds"]) if state else 0.0
    results: dict[str, float] = dict(state["results"]) if state else {}

    def on_epoch(epoch: EpochReport) -> None:
        nonlocal spent, results
        spent += epoch.seconds
        results = {**epoch.metrics(), "train_seconds": spent}
        if rank == 0:
            tracking.log_metrics(given["mlflow_run_id"], results, step=epoch.epoch)
        with scratch_folder() as folder:
            if rank == 0:
                kept = {**epoch.state(), "train_seconds": spent, "results": results}
                torch.save(kept, folder / STATE)
            ray.train.report(results, checkpoint=Checkpoint.from_directory(folder) if rank == 0 else None)

    def on_step(done: int, total: int, text: str) -> None:
        if rank == 0:
            accuracy = f", val {results['val_top1']:.0%}" if results else ""
            report(stage, done, total, text + accuracy)

    train(model, train_data, val_data, work.config, on_epoch, state, device, rank, world_size, on_step)
    if rank == 0:
        card = checkpoint.ModelCard(
            model=work.config.model,
            classes=work.classes,
            view=work.view,
            weights=work.config.weights,
            snapshot_id=work.snapshot_id,
            train_config=work.config.model_dump(mode="json"),
            results=results,
        )
        checkpoint.save(Store(work.store), work.model_path, unwrap(model), card)


def _last_state() -> dict[str, Any] | None:
    import torch

    kept = ray.train.get_checkpoint()
    if kept is None:
        return None
    with kept.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / STATE, map_location="cpu", weights_only=True)
        return state


def _storage(store: Store) -> dict[str, Any]:
    """Where Ray Train keeps its checkpoints: beside the datasets, on any store."""
    if store.is_local:
        return {"storage_path": store.full("training")}
    import pyarrow.fs

    return {
        "storage_path": store.full("training"),
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
