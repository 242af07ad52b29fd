"""What Ray Train is told of a training."""

from __future__ import annotations

from pathlib import Path

from tasks.ray_train import run_config_of
from tests.snapshotted import DATASET, snapshotted
from vidclf import memory
from vidclf.config import TrainConfig
from vidclf.training.work import settle


def test_workers_keep_their_tensors_memory_on_a_cpu_and_are_left_alone_on_a_gpu(tmp_path: Path) -> None:
    snapshotted(tmp_path, {"train": 2, "val": 1})
    work = settle(TrainConfig(dataset=DATASET, model="cnn_lstm", store=str(tmp_path / "store")))
    assert run_config_of(work, use_gpu=False).worker_runtime_env == {"env_vars": memory.ENVIRONMENT}
    assert not run_config_of(work, use_gpu=True).worker_runtime_env
