"""The command line. Commands that need more than the library come in through the entry points ``vidclf.commands``."""

from __future__ import annotations

from importlib.metadata import entry_points

import click

from vidclf.dataset_commands import dataset
from vidclf.errors import AnnotationError, ConfigError, VidclfError
from vidclf.home import silence_libraries
from vidclf.model_commands import export, models
from vidclf.predict_commands import predict

EXIT_WORK_FAILED = 1
EXIT_WRONG_REQUEST = 2


class Commands(click.Group):
    """The library's own commands, and those of other packages, imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *entry_points(group="vidclf.commands").names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for entry in entry_points(group="vidclf.commands", name=cmd_name):
            command = entry.load()
            assert isinstance(command, click.Command)
            return command
        return None

    def invoke(self, ctx: click.Context) -> None:
        """Run a command; an error made for people is one line on stderr and an exit status."""
        silence_libraries()
        try:
            super().invoke(ctx)
        except VidclfError as error:
            click.echo(f"vidclf: {' '.join(str(error).split())}", err=True)
            wrong = isinstance(error, (ConfigError, AnnotationError))
            ctx.exit(EXIT_WRONG_REQUEST if wrong else EXIT_WORK_FAILED)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vidclf")
def main() -> None:
    """Video classifiers from annotation lists: ingest, train, compare, predict."""


for command in (dataset, export, models, predict):
    main.add_command(command)
