"""A training in MLflow: numbers and curves of every epoch, the machine's load, and what the model really saw."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from vidclf.tracking.client import client, explained
from vidclf.tracking.figures import curves, grid

SYSTEM_SECONDS = 10.0  # between two looks at the machine


class TrainingRun:
    """The run that a training logs to, from the one process that does."""

    def __init__(self, run_id: str):
        self.run_id = run_id
        self._history: dict[int, dict[str, float]] = self._logged()

    @explained()
    def log_epoch(self, numbers: Mapping[str, float], epoch: int) -> None:
        """Numbers of a finished epoch, and the curves up to it. Again the same, where a resumed training tells it twice."""
        from vidclf.tracking import log_metrics

        log_metrics(self.run_id, numbers, step=epoch)
        self._history[epoch] = dict(numbers)
        client().log_figure(self.run_id, curves(self._history), "curves.png")

    @explained()
    def log_seen(self, pictures: np.ndarray, labels: Sequence[str]) -> None:
        """The first batch as it entered the model, uint8 (B, C, T, H, W), and the labels of its clips."""
        client().log_figure(self.run_id, grid(pictures, labels), "seen_in_training.png")

    @explained()
    def log_unreadable(self, reasons: Mapping[str, str]) -> None:
        """Clips that could not be read, with the reasons."""
        client().log_dict(self.run_id, dict(sorted(reasons.items())), "unreadable.json")

    @contextlib.contextmanager
    def system_metrics(self) -> Iterator[None]:
        """Log the load of processors, memory, disk, network and GPUs for the length of a ``with`` block."""
        client()  # tells MLflow where the server is
        logger = logging.getLogger("mlflow.system_metrics.system_metrics_monitor")
        level = logger.level
        logger.setLevel(logging.WARNING)  # else it tells that it starts and ends
        monitor = SystemMetricsMonitor(self.run_id, sampling_interval=SYSTEM_SECONDS, resume_logging=True)
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()
            logger.setLevel(level)

    @explained()
    def _logged(self) -> dict[int, dict[str, float]]:
        """What the run has of earlier epochs, so that the curves of a resumed training are whole."""
        mlflow_client = client()
        found: dict[int, dict[str, float]] = {}
        logged: Mapping[str, Any] = mlflow_client.get_run(self.run_id).data.metrics
        for name in sorted(name for name in logged if name.startswith(("train_", "val_", "learning_rate"))):
            for point in mlflow_client.get_metric_history(self.run_id, name):
                found.setdefault(point.step, {})[name] = point.value
        return found
