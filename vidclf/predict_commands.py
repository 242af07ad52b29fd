"""``vidclf predict``: labels for videos, and, through another package, for a whole dataset."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from vidclf import memory
from vidclf.errors import ConfigError
from vidclf.predict.answers import Answer, as_csv, as_json, lines, table
from vidclf.predict.span import Span
from vidclf.predict.work import Request, Worker, find_all

SOME_FAILED = 1
NOTHING_ANSWERED = 2

#: The entry point that predicts datasets: it needs Ray, and comes with the package ``tasks``.
DATASETS = ("vidclf.runners", "predict-dataset")


class _Seconds(click.ParamType[float]):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        if not (math.isfinite(seconds) and seconds >= 0):
            self.fail(f"{value} is no number of seconds from 0", param, ctx)
        return seconds


SECONDS = _Seconds()


@click.command()
@click.argument("videos", nargs=-1)
@click.option(
    "--model",
    required=True,
    metavar="MODEL",
    help="A checkpoint's folder or URI, or models:/NAME@ALIAS of the registry.",
)
@click.option("--start-time", type=SECONDS, help="Begin here; wants --end-time or --duration.")
@click.option("--end-time", type=SECONDS, help="End before this.")
@click.option("--duration", type=SECONDS, help="So long from the start.")
@click.option("--sliding", type=SECONDS, help="Labels over time, in windows of so many seconds: a table and a PNG.")
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Labels for each video.")
@click.option(
    "--num-views", type=click.IntRange(min=1), help="Views for each video, averaged; by default 3, with --sliding 1."
)
@click.option("--json", "as_", flag_value="json", help="JSON on stdout.")
@click.option("--csv", "as_", flag_value="csv", help="CSV on stdout.")
@click.option("--keep-cut", is_flag=True, help="Keep what was cut out, as NAME_cut.mp4.")
@click.option(
    "--save-frames-path", type=click.Path(path_type=Path), help="Keep the frames that the model sees, in FOLDER/NAME/."
)
@click.option("--rm-frames", is_flag=True, help="Remove these frames again when their video is answered.")
@click.option(
    "--into", type=click.Path(path_type=Path), help="Where cuts and timelines go; by default beside their video."
)
@click.option("--device", help="cpu, cuda, cuda:1; by default the GPU where there is one.")
@click.option("--dataset", help="Predict the clips of this dataset, with Ray, instead of VIDEOS.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Of the dataset only this split.")
@click.option("--snapshot", default="latest", show_default=True, help="Of the dataset, a snapshot_id.")
@click.option("--output", help="Path or URI of the Parquet file that --dataset writes.")
@click.pass_context
def predict(
    ctx: click.Context,
    videos: tuple[str, ...],
    model: str,
    start_time: float | None,
    end_time: float | None,
    duration: float | None,
    sliding: float | None,
    top_k: int,
    num_views: int | None,
    as_: str | None,
    keep_cut: bool,
    save_frames_path: Path | None,
    rm_frames: bool,
    into: Path | None,
    device: str | None,
    dataset: str | None,
    split: str | None,
    snapshot: str,
    output: str | None,
) -> None:
    """Say what VIDEOS show: files, folders, patterns, and URIs (s3://…, https://…).

    Each video is taken as one clip, or with --sliding in windows. A video that fails costs itself alone, and one line on
    stderr. Exit status 1 where some failed, 2 where nothing could be answered.
    """
    span = Span.of(start_time, end_time, duration)
    if dataset is not None:
        local_only = {"VIDEOS": videos, "--sliding": sliding, "--keep-cut": keep_cut, "--json": as_, "--into": into}
        local_only |= {"--save-frames-path": save_frames_path, "a start or an end": not span.is_whole}
        _refuse(local_only, "is for videos, not for --dataset")
        if output is None:
            raise ConfigError("--dataset needs --output, the Parquet file to write")
        _predict_dataset()(dataset, model, split, snapshot, output, top_k, num_views or 3, device)
        return
    _refuse({"--split": split, "--output": output}, "is for --dataset")
    if not videos:
        raise ConfigError("name at least one video, or a --dataset")
    if sliding is not None and not sliding > 0:
        raise ConfigError("--sliding wants a window of more than 0 seconds")
    if keep_cut and span.is_whole:
        raise ConfigError("--keep-cut has nothing to keep without --start-time, --end-time or --duration")
    views = num_views or (1 if sliding else 3)
    request = Request(span, top_k, views, sliding, keep_cut, save_frames_path, rm_frames, into)
    answers = list(_shown(_answers(videos, model, device, request), as_))
    if not any(answer.ok for answer in answers):
        ctx.exit(NOTHING_ANSWERED)
    if not all(answer.ok for answer in answers):
        ctx.exit(SOME_FAILED)


def _answers(videos: Iterable[str], model: str, device: str | None, request: Request) -> Iterator[Answer]:
    found = find_all(list(videos))
    if all(isinstance(one, Answer) for one in found):  # before seconds are spent on torch
        yield from (one for one in found if isinstance(one, Answer))
        return
    from vidclf.predict.classifier import load

    worker = Worker(load(model, device), request)
    with memory.kept():
        for one in found:
            yield one if isinstance(one, Answer) else worker.answer(one)


def _shown(answers: Iterable[Answer], as_: str | None) -> Iterator[Answer]:
    """Print each answer as it comes, or all at the end as one document; errors go to stderr as they come."""
    kept = []
    for answer in answers:
        if not answer.ok:
            click.echo(f"vidclf: {_named(answer)}", err=True)
        elif as_ is None:
            is_table = len(answer.predictions) > 1
            for line in table(answer) if is_table else lines(answer):
                click.echo(line)
            for file in answer.files:
                click.echo(f"  written: {file}")
        kept.append(answer)
        yield answer
    if as_ == "json":
        click.echo(json.dumps(as_json(kept), indent=2, ensure_ascii=False))
    elif as_ == "csv":
        click.echo(as_csv(kept), nl=False)


def _named(answer: Answer) -> str:
    """The error with the video that it is about, named once."""
    message = answer.error or ""
    if answer.video in message:
        return message
    return f"{answer.video}: {message.removeprefix(f'{Path(answer.video).name}: ')}"


def _refuse(options: dict[str, Any], why: str) -> None:
    for name, value in options.items():
        if value:
            raise ConfigError(f"{name} {why}")


def _predict_dataset() -> Callable[..., None]:
    group, name = DATASETS
    for entry in entry_points(group=group, name=name):
        found: Callable[..., None] = entry.load()
        return found
    raise ConfigError("--dataset needs Ray and the package 'tasks', which are not installed here")
