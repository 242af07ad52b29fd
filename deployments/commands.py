"""``vidclf up``, ``vidclf down``, ``vidclf status`` and ``vidclf doctor``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click

from deployments import profile, record, stack
from deployments.errors import StackError
from deployments.services import Ports
from vidclf.home import home

NOT_HEALTHY = 1
SOMETHING_WRONG = 1

Command = TypeVar("Command", bound=Callable[..., object])


def _port_option(name: str, default: int) -> Callable[[Command], Command]:
    return click.option(
        f"--{name.replace('_', '-')}-port",
        type=click.IntRange(1, 65535),
        default=default,
        show_default=True,
        envvar=f"VIDCLF_{name.upper()}_PORT",
        show_envvar=True,
    )


@click.command()
@_port_option("prefect", Ports.prefect)
@_port_option("mlflow", Ports.mlflow)
@_port_option("ray", Ports.ray)
@_port_option("ray_metrics", Ports.ray_metrics)
def up(prefect_port: int, mlflow_port: int, ray_port: int, ray_metrics_port: int) -> None:
    """Start Prefect, MLflow, Ray and a worker here, and deploy ./prefect.yaml."""
    already = stack.is_running(home(), record.read(home()))
    click.echo("already running; writing the deployments again" if already else "starting; about half a minute")
    try:
        running = stack.up(home(), Ports(prefect_port, mlflow_port, ray_port, ray_metrics_port), click.echo)
    except StackError as error:
        if error.log_end:
            click.echo(error.log_end, err=True)  # the error itself is one line
        raise
    environment = running.environment or {}
    click.echo(f"\nPrefect  {environment['PREFECT_API_URL'].removesuffix('/api')}")
    click.echo(f"MLflow   {environment['MLFLOW_TRACKING_URI']}\n")
    if not profile.is_found(home(), Path.cwd()):
        click.echo(f"For plain prefect commands:  export PREFECT_API_URL={environment['PREFECT_API_URL']}")
    click.echo("Next:  prefect deployment run ingest/demo --watch")
    click.echo("End:   vidclf down")


@click.command()
def down() -> None:
    """End what `vidclf up` started; the data stays."""
    click.echo("ended" if stack.down(home()) else "nothing runs")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Say which services of the stack work, and what was started anew. Exit status 0 if all work."""
    standing = stack.status(home(), record.read(home()))
    if as_json:
        click.echo(json.dumps([asdict(service) for service in standing], indent=2))
    elif not standing:
        click.echo("nothing runs; start it with `vidclf up`")
    for service in standing if not as_json else ():
        line = f"{service.name:<8} {service.state:<12} pid {service.pid:<8} {service.url:<45} {service.history}"
        click.echo(line.rstrip())
    if not stack.is_running(home(), record.read(home())) or any(one.state != "healthy" for one in standing):
        ctx.exit(NOT_HEALTHY)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--online", is_flag=True, help="Also ask the hosts that videos and weights come from.")
@click.option("--store", help="Look at this store, as s3://bucket/prefix.  [default: $VIDCLF_HOME/store]")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, online: bool, store: str | None) -> None:
    """Say what this machine has and lacks, with the remedies. Exit status 0 if nothing is wrong, 1 otherwise."""
    from deployments.doctor import State, all_checks, diagnose

    findings = list(diagnose(all_checks(store, online)))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            click.echo(f"{finding.state.value:<6} {finding.name:<{width}}  {finding.found}")
            if finding.remedy:
                click.echo(f"{'':<6} {'':<{width}}  → {finding.remedy}")
    if any(finding.state is State.WRONG for finding in findings):
        ctx.exit(SOMETHING_WRONG)
