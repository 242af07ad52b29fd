"""Train: a model is fine-tuned on a snapshot."""

from __future__ import annotations

from prefect import flow

from tasks.cluster import cluster
from tasks.notify import tell_of_failure
from tasks.train import fit_model, settle_training
from tasks.watch import shown_in_prefect
from vidclf.config import DataConfig, OptimConfig, Split, TrainConfig, parse


@flow(
    name="train", flow_run_name="train {model} on {dataset}", on_failure=[tell_of_failure], on_crashed=[tell_of_failure]
)
def train(
    dataset: str,
    model: str,
    store: str | None = None,
    snapshot: str = "latest",
    weights: str = "none",
    head_hidden: int | None = None,
    data: DataConfig = DataConfig(),
    optim: OptimConfig = OptimConfig(),
    test_split: Split | None = None,
    seed: int = 0,
    num_workers: int = 1,
    cpus_per_worker: int | None = None,
    use_gpu: bool | None = None,
    checkpoint_steps: int | None = None,
    compile: bool = False,
    channels_last: bool = False,
    fast_dev_run: bool = False,
    experiment: str = "vidclf",
) -> str:
    """Settle what is to be trained, and fit it on the cluster.

    Returns:
        The URI of the checkpoint.
    """
    config = parse(TrainConfig, dict(locals()))
    with cluster(), shown_in_prefect(dataset):
        return fit_model(settle_training(config))
