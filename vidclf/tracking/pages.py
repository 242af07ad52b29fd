"""Where MLflow's UI shows what was logged."""

from __future__ import annotations

from dataclasses import dataclass

from vidclf.home import tracking_uri
from vidclf.tracking.client import client, explained


@dataclass(frozen=True)
class Pages:
    """Addresses of MLflow's pages where a server is named; else what is to be looked up there once one runs."""

    run: str
    experiment: str
    model: str | None  # None: the run logged none


@explained()
def pages(run_id: str) -> Pages:
    """Of a run, its experiment, and the model that it logged last."""
    run = client().get_run(run_id)
    experiment_id = str(run.info.experiment_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    model_id = str(outputs[-1].model_id) if outputs else None
    if not tracking_uri().startswith(("http://", "https://")):
        experiment = client().get_experiment(experiment_id).name
        return Pages(f"{run_id} in {tracking_uri()}", experiment, f"models:/{model_id}" if model_id else None)
    site = f"{tracking_uri().rstrip('/')}/#/experiments/{experiment_id}"
    return Pages(f"{site}/runs/{run_id}", site, f"{site}/models/{model_id}" if model_id else None)
