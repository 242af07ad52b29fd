"""The commands that run flows: ``vidclf run`` and ``vidclf demo``."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from flows.catalogue import Job, find_job
from flows.preflight import check
from flows.server import prefect_server
from vidclf.config import EvaluateConfig, IngestConfig, RetrainConfig, TrainConfig
from vidclf.errors import ConfigError, StorageError
from vidclf.home import default_store, home
from vidclf.snapshot import dataset_store, read_snapshot

console = Console(stderr=True)


@click.command()
@click.argument("deployment")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace one setting: clips.short_side=128."
)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file with settings to replace.")
@click.option("--dry-run", is_flag=True, help="An ingest: print what there is to do, and do nothing.")
@click.option("--limit", type=int, help="An ingest: the first so many annotations only.")
@click.option(
    "--retry", multiple=True, metavar="KIND", help="An ingest: take up a settled kind of error again, as gone."
)
def run(
    deployment: str,
    settings: tuple[str, ...],
    config_file: Path | None,
    dry_run: bool,
    limit: int | None,
    retry: tuple[str, ...],
) -> None:
    """Run a DEPLOYMENT of ./prefect.yaml, as ingest/demo, in this process: no server, worker or cluster needed."""
    own = [f"annotations.limit={limit}"] if limit is not None else []
    own += [f"execution.retry=[{', '.join(retry)}]"] if retry else []
    job = find_job(deployment, config_file, (*settings, *own))
    if dry_run:
        _say_what_it_would_do(job, deployment)
        return
    check(job.config)
    _report(job, *_run([job]))


@click.command()
def demo() -> None:
    """Ingest the generated dancing set, train three models on it and compare them."""
    jobs = [find_job("ingest/demo"), find_job("compare/demo")]
    for job, result in zip(jobs, _run(jobs), strict=True):
        _report(job, result)
    click.echo(
        f"""
All of it is kept under {home()}; a second run reuses it. Next:

    make up                     the servers, with these runs: Prefect http://127.0.0.1:4200, MLflow http://127.0.0.1:5000
    . .venv/bin/activate
    vidclf dataset show {home() / "store/datasets/dancing-demo"}
    vidclf run ingest/kinetics-dancing --set annotations.limit=50     real Kinetics; docs/kinetics.md says what it needs"""
    )


def _say_what_it_would_do(job: Job, deployment: str) -> None:
    from vidclf.forecast import forecast
    from vidclf.summary import print_forecast

    if not isinstance(job.config, IngestConfig):
        raise ConfigError(f"--dry-run is for ingests; {deployment} is none")
    try:
        plan = forecast(job.config)
    except StorageError as error:
        raise ConfigError(f"the store cannot be used: {error}") from error
    print_forecast(plan, sys.stdout)


def _run(jobs: list[Job]) -> list[Any]:
    """The flows one after the other, with one server, one Ray cluster and one display."""
    if not all(isinstance(job.config, IngestConfig) for job in jobs):
        importlib.import_module("vidclf.tracking").check_answers()  # before servers are started, and hours of work
    with contextlib.ExitStack() as stack:
        with _saying("starting a Prefect server"):
            stack.enter_context(prefect_server())
        with _saying("starting Ray"):
            # Only now, since Prefect and Ray read their settings when they are imported.
            flows = [getattr(importlib.import_module(f"flows.{job.flow}"), job.flow) for job in jobs]
            stack.enter_context(importlib.import_module("tasks.cluster").cluster())
        logs = importlib.import_module("prefect.logging.handlers").APILogHandler()
        stack.callback(logs.flush)  # before the server ends
        stack.enter_context(importlib.import_module("flows.display").display(console))
        return [flow(**job.parameters) for flow, job in zip(flows, jobs, strict=True)]


def _saying(what: str) -> contextlib.AbstractContextManager[object]:
    """A spinner on a terminal, a line elsewhere."""
    if not console.is_terminal:
        console.print(what)
        return contextlib.nullcontext()
    return console.status(what)


def _report(job: Job, result: Any) -> None:
    """What a flow came to, on stdout."""
    from vidclf import summary

    if isinstance(job.config, IngestConfig):
        store = dataset_store(job.config.store or default_store(), job.config.dataset)
        summary.print_snapshot(read_snapshot(store, result), sys.stdout)
    elif isinstance(job.config, TrainConfig):
        summary.print_checkpoint(result, sys.stdout)
    elif isinstance(job.config, EvaluateConfig):
        summary.print_evaluation(result, sys.stdout)
    elif isinstance(job.config, RetrainConfig):
        summary.print_retraining(result, sys.stdout)
    else:
        summary.print_comparison(result, sys.stdout)
