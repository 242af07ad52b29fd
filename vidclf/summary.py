"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vidclf.evaluation import comparison
from vidclf.evaluation.comparison import Comparison, short
from vidclf.evaluation.summary import Evaluated
from vidclf.forecast import Forecast
from vidclf.models import ModelSpec
from vidclf.models.checkpoint import read_card
from vidclf.models.cost import measure
from vidclf.retraining import outcome
from vidclf.retraining.outcome import Retrained
from vidclf.snapshot import Snapshot

SPLIT_ORDER = ("train", "val", "test")


def print_snapshot(snapshot: Snapshot, to: TextIO) -> None:
    """Counts by class and split, and failures by kind."""
    console = Console(file=to)
    stats = snapshot.stats
    states = ", ".join(f"{number} {status}" for status, number in stats["status"].items())
    console.print(
        f"snapshot {snapshot.snapshot_id}: {stats['annotations']} annotations ({states}), {stats['seconds'] / 60:.1f} min of video"
    )
    table = Table("label_id", "label", *SPLIT_ORDER)
    for number, label in enumerate(snapshot.classes):
        counts = stats["ok_by_class"].get(label, {})
        table.add_row(str(number), label, *(str(counts.get(split, 0)) for split in SPLIT_ORDER))
    console.print(table)
    if stats["variants"]:
        console.print(f"{stats['variants']} augmented variants")
    if stats["errors"]:
        console.print("failed: " + ", ".join(f"{number} {kind}" for kind, number in stats["errors"].items()))


def print_forecast(plan: Forecast, to: TextIO) -> None:
    """What an ingest has before it: counts by class and split, remarks, and an estimate."""
    console = Console(file=to) if to.isatty() else Console(file=to, width=120)
    table = Table("label", "split", "clips", "ok", "failed", "to do", box=box.SIMPLE)
    for row in plan.counts.to_pylist():
        numbers = (f"{row[name]:,}" for name in ("clips", "ok", "failed", "to_do"))
        table.add_row(escape(row["label"] or "(unlabelled)"), row["split"], *numbers)
    console.print(table)
    for notice in plan.notices:
        console.print(f"- {escape(notice)}")
    console.print(
        f"{plan.annotations:,} annotations, {plan.clips:,} clips: {plan.settled_ok:,} are ok, {plan.settled_failed:,} failed "
        f"for good, {plan.to_do:,} to do"
    )
    if plan.to_do:
        console.print(
            f"to do: about {plan.download_bytes / 1e9:,.1f} GB to fetch, {plan.clip_bytes / 1e9:,.1f} GB of clips, "
            f"{plan.hours:,.1f} hours here (by {plan.basis})"
        )


def print_checkpoint(uri: str, to: TextIO) -> None:
    """What a training came to."""
    card = read_card(uri)
    console = Console(file=to)
    console.print(f"{card.model} on snapshot {card.snapshot_id}, {len(card.classes)} classes")
    results = card.results
    console.print(
        f"{results['epoch']:.0f} epochs in {results['train_seconds']:.0f} s: validation accuracy {results['val_top1']:.1%} "
        f"of {results['val_videos']:.0f} videos, loss {results['val_loss']:.3f}"
    )
    console.print(f"checkpoint: {uri}", soft_wrap=True)


def print_evaluation(evaluated: Evaluated, to: TextIO) -> None:
    """The numbers of an evaluation, what they are of, and where its files are."""
    console = Console(file=to) if to.isatty() else Console(file=to, width=120)
    table = Table("", "(95 % CI)", "N", box=box.SIMPLE)
    for name, number in evaluated.numbers.items():
        table.add_row(name, short(number), f"{number.n:,}")
    console.print(table)
    console.print(escape(evaluated.caption))
    for notice in evaluated.notices:
        console.print(f"- {escape(notice)}")
    console.print(f"report, gallery, table and predictions: {evaluated.folder}", soft_wrap=True, highlight=False)


def print_comparison(compared: Comparison, to: TextIO) -> None:
    """The table of a comparison, its caption and its remarks."""
    console = Console(file=to) if to.isatty() else Console(file=to, width=120)
    header, *rows = comparison.cells(compared)
    table = Table(*header, box=box.SIMPLE)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(comparison.caption(compared))
    for sentence in comparison.remarks(compared):
        console.print(f"- {sentence}")
    if compared.report:
        console.print(f"report: {compared.report}", soft_wrap=True, highlight=False)


def print_retraining(retrained: Retrained, to: TextIO) -> None:
    """What was decided, the figures, and where they are."""
    console = Console(file=to) if to.isatty() else Console(file=to, width=120)
    console.print(f"{retrained.model_name}: {retrained.outcome}. {escape(retrained.sentence)}")
    if retrained.decision is None:
        return
    table = Table(show_header=False, box=box.SIMPLE)
    for name, value in outcome.rows(retrained.decision):
        table.add_row(name, escape(value))
    console.print(table)
    for notice in retrained.decision.notices:
        console.print(f"- {escape(notice)}")
    console.print(f"decision and report: {retrained.folder}", soft_wrap=True, highlight=False)


def print_models(models: Sequence[ModelSpec], to: TextIO) -> None:
    """The models: what each is fed, how large it is, what it can start from and how well that does."""
    console = Console(file=to) if to.isatty() else Console(file=to, width=200)
    table = Table(
        "model", "what", "frames × rate", "crop", "parameters", "GFLOPs", "weights", "top-1 / top-5", box=box.SIMPLE
    )
    for model in models:
        fed, cost = model.defaults, model.cost or measure(model.name)
        table.add_row(
            model.name,
            model.summary,
            f"{fed.num_frames} × {fed.sampling_rate}",
            str(fed.crop_size),
            f"{cost.parameters / 1e6:.1f} M",
            f"{cost.gflops:.1f}",
            ", ".join(("none", *model.weights)),
            _published(model),
        )
    console.print(table)
    console.print(
        "GFLOPs: multiply-adds of one view, in billions. weights: or the path or URI of a file or a checkpoint."
    )
    console.print("cnn_* and frame_cnn take any of torchvision's networks for pictures: cnn_lstm-resnet50.")
    for source in sorted({model.accuracy.source for model in models if model.accuracy}):
        console.print(f"accuracies: {source}", soft_wrap=True)


def _published(model: ModelSpec) -> str:
    if model.accuracy is None:
        return "–"
    known = model.accuracy
    top5 = f"{known.top5:.2f}" if known.top5 is not None else "–"
    return f"{known.top1:.2f} / {top5} on {known.dataset}, {known.protocol}"
