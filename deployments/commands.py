"""``vidclf up``, ``vidclf down`` and ``vidclf status``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from deployments import profile, stack
from deployments.errors import StackError
from deployments.services import Ports
from vidclf.home import home

NOT_HEALTHY = 1

Command = TypeVar("Command", bound=Callable[..., object])


def _port_option(name: str, default: int) -> Callable[[Command], Command]:
    return click.option(
        f"--{name}-port",
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
def up(prefect_port: int, mlflow_port: int, ray_port: int) -> None:
    """Start Prefect, MLflow, Ray and a worker here, and deploy ./prefect.yaml."""
    already = stack.read(home()).is_running()
    click.echo("already running; writing the deployments again" if already else "starting; about half a minute")
    try:
        running = stack.up(home(), Ports(prefect_port, mlflow_port, ray_port), click.echo)
    except StackError as error:
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
@click.pass_context
def status(ctx: click.Context) -> None:
    """Say which services of the stack work. Exit status 0 if all do."""
    running = stack.read(home())
    if not running.services:
        click.echo("nothing runs; start it with `vidclf up`")
        ctx.exit(NOT_HEALTHY)
    healthy = stack.health(home(), running)
    for service in running.services:
        state = "healthy" if healthy[service.name] else "not healthy" if service.is_alive() else "gone"
        click.echo(f"{service.name:<8} {state:<12} pid {service.pid:<8} {service.url}")
    if not (running.environment and all(healthy.values())):
        ctx.exit(NOT_HEALTHY)
