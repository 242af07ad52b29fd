"""``vidclf models …`` and ``vidclf export``: what can be trained, what is registered, and models for other programs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidclf.errors import ConfigError

if TYPE_CHECKING:
    from vidclf.tracking.registry import Registered


@click.group(invoke_without_command=True)
@click.pass_context
def models(ctx: click.Context) -> None:
    """The models that can be trained; with a command, MLflow's registry of those that were."""
    if ctx.invoked_subcommand is not None:
        return
    from vidclf.models import available_models
    from vidclf.summary import print_models

    print_models(available_models(), sys.stdout)


@models.command()
@click.argument("checkpoint")
@click.argument("name")
@click.option("--alias", "aliases", multiple=True, help="Point this alias to it, as champion; may be repeated.")
def register(checkpoint: str, name: str, aliases: tuple[str, ...]) -> None:
    """Make CHECKPOINT, a finished one's folder or URI, the next version of the model NAME."""
    from vidclf.tracking import registry

    _say(registry.register(checkpoint, name, aliases))


@models.command()
@click.argument("target", metavar="NAME@ALIAS")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--remove", is_flag=True, help="Take the alias away.")
def alias(target: str, version: int | None, remove: bool) -> None:
    """Point an alias to a VERSION, as: vidclf models alias dancing@champion 3."""
    from vidclf.tracking import registry

    name, at, wanted = target.removeprefix("models:/").rpartition("@")
    if not (name and at and wanted):
        raise ConfigError(f"{target!r}: a model and an alias are wanted, as dancing@champion")
    if remove == (version is not None):
        raise ConfigError(f"say to which version {target} points, or --remove")
    if version is not None:
        _say(registry.set_alias(name, wanted, version))
        return
    registry.remove_alias(name, wanted)
    click.echo(f"{name} has no alias {wanted} any more")


@models.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def registered(name: str | None, as_json: bool) -> None:
    """The versions of the model NAME, or of all registered models."""
    from vidclf.tracking import registry

    found = registry.registered(name)
    if as_json:
        click.echo(json.dumps([{**asdict(one), "uri": one.uri} for one in found], indent=2))
        return
    for one in found:
        _say(one)
    if not found:
        click.echo("no model is registered yet: vidclf models register CHECKPOINT NAME --alias champion")


@models.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Make the version that was champion before the last promotion of the model NAME champion again."""
    from vidclf.tracking import promotion

    done = promotion.rollback(name)
    here, before = done.champion, done.before
    if before is None:
        click.echo(f"{name}@champion is version {here.version}; an interrupted move is cleared away")
        return
    click.echo(
        f"{name}@champion is version {here.version} again, which was champion before version {before.version}; "
        f"no retraining promotes version {before.version} again"
    )


@click.command()
@click.argument("model")
@click.option("--to", "form", type=click.Choice(["onnx", "torch-export"]), required=True, help="What it becomes.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The file to write: .onnx, .pt2.")
def export(model: str, form: Any, output: Path) -> None:
    """Write MODEL, a checkpoint's folder or URI or models:/NAME@ALIAS, as one file for other programs.

    It takes views, float (B, 3, T, H, W) from 0 to 1, and answers probabilities (B, classes). Classes, sampling and sizes
    are in the file too. What is written is read again and compared with the model before it is kept.
    """
    from vidclf.export import export_checkpoint

    done = export_checkpoint(model, form, output)
    click.echo(
        f"{output}: {done.model}, {output.stat().st_size / 1e6:.1f} MB, input {done.input}; differs from the model by"
        f" {done.difference:.1e} at most"
    )


def _say(one: Registered) -> None:
    aliases = "".join(f" @{alias}" for alias in one.aliases)
    accuracy = f", validation accuracy {one.val_top1:.1%}" if one.val_top1 is not None else ""
    click.echo(f"{one.uri}{aliases}  {one.model}, snapshot {one.snapshot_id}{accuracy}  from {one.checkpoint}")
