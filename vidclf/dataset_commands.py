"""``vidclf dataset …``: what can be done with a dataset as a whole."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidclf.errors import ConfigError
from vidclf.storage import Store

if TYPE_CHECKING:
    from vidclf.maintenance.export import Exported
    from vidclf.maintenance.gc import Collected
    from vidclf.maintenance.remove import Takedown
    from vidclf.maintenance.verify import Verification

as_json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")
snapshot_option = click.option("--snapshot", default="latest", show_default=True, help="A snapshot_id.")


@click.group()
def dataset() -> None:
    """Look at datasets, recheck them, clean them up, hand them out.

    URI is a dataset's own place, as .vidclf/store/datasets/dancing or s3://bucket/prefix/datasets/dancing.
    """


@dataset.command()
@click.argument("uri")
@snapshot_option
@as_json_option
def show(uri: str, snapshot: str, as_json: bool) -> None:
    """What is in the dataset at URI, as .vidclf/store/datasets/dancing or s3://bucket/prefix/datasets/dancing."""
    from vidclf.snapshot import read_snapshot
    from vidclf.summary import print_snapshot

    found = read_snapshot(Store(uri), snapshot)
    if as_json:
        _print_json({"snapshot_id": found.snapshot_id, "classes": found.classes, **found.stats})
    else:
        print_snapshot(found, sys.stdout)


@dataset.command()
@click.argument("uri")
@snapshot_option
@click.option("--output", type=click.Path(path_type=Path), default="report.html", show_default=True, help="The page.")
@click.option("--clips-per-class", default=2, show_default=True, type=click.IntRange(min=0), help="Clips to look at.")
@click.option("--max-mb", default=64.0, show_default=True, help="Size of the page; what does not fit is left out.")
def report(uri: str, snapshot: str, output: Path, clips_per_class: int, max_mb: float) -> None:
    """Write a page to look at: counts, failures, distributions, and clips of each class. It opens from disk."""
    from vidclf.report import write_report
    from vidclf.snapshot import read_snapshot

    store = Store(uri)
    found = read_snapshot(store, snapshot)
    page = write_report(store, found, clips_per_class=clips_per_class, max_bytes=round(max_mb * 1e6))
    try:
        output.write_bytes(page)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}") from None
    click.echo(f"{output}: snapshot {found.snapshot_id}, {len(page) / 1e6:.1f} MB")


@dataset.command()
@click.argument("uri")
@snapshot_option
@click.option("--quick", is_flag=True, help="Only whether the files are there and as large as they were.")
@as_json_option
@click.pass_context
def verify(ctx: click.Context, uri: str, snapshot: str, quick: bool, as_json: bool) -> None:
    """Recheck a snapshot of the dataset at URI: its rows, its classes, and every byte of every file it names.

    Exit status 1 where something is damaged. Clips that were taken out on request are no damage.
    """
    from vidclf.maintenance.verify import verify as recheck

    found = recheck(Store(uri), snapshot, quick=quick)
    if as_json:
        _print_json({**asdict(found), "intact": found.intact})
    else:
        _print_verification(found)
    if not found.intact:
        ctx.exit(1)


@dataset.command()
@click.argument("uri")
@click.option("--keep", default=2, show_default=True, type=click.IntRange(min=1), help="Snapshots to keep.")
@click.option("--sources", is_flag=True, help="Also the source videos of which every clip is transcoded.")
@click.option(
    "--unpublished", is_flag=True, help="Also what was made since the last publish: a run cut short begins anew."
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and change nothing.")
@as_json_option
def gc(uri: str, keep: int, sources: bool, unpublished: bool, dry_run: bool, as_json: bool) -> None:
    """Remove what none of the latest snapshots of the dataset at URI names.

    Kept are the latest snapshot and those published before it, --keep in all, with the files that they name. What goes,
    the ledger says, so that a later run makes it again where it is wanted. Not while a training reads an old snapshot.
    """
    from vidclf.maintenance.gc import collect

    found = collect(Store(uri), keep=keep, sources=sources, unpublished=unpublished, dry_run=dry_run)
    if as_json:
        _print_json({**asdict(found), "total": asdict(found.total)})
    else:
        _print_collected(found)


@dataset.command()
@click.argument("uri")
@click.argument("clip_ids", metavar="[CLIP_ID]...", nargs=-1)
@click.option("--source", "source_ids", multiple=True, help="All of this source, for ever; may be given several times.")
@click.option("--reason", help="Why; for the ledger.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
def remove(
    uri: str, clip_ids: tuple[str, ...], source_ids: tuple[str, ...], reason: str | None, yes: bool, as_json: bool
) -> None:
    """Take clips out of the dataset at URI, for good: a takedown.

    Their videos and frames are erased under every recipe and in every snapshot, with the source videos they were cut
    from; a new snapshot is published without them, and no later run brings them back; of a --source no other segment
    either, whatever a later list says. All other clips stay as they are.
    Not while a training reads the dataset. Models that were trained on them stay what they are, and so does what was
    exported. An id that begins with a dash goes behind --, or as --source=-id.
    """
    from vidclf.maintenance.remove import find_clips
    from vidclf.maintenance.remove import remove as take_out

    if not clip_ids and not source_ids:
        raise click.UsageError("name at least one CLIP_ID or --source")
    store = Store(uri)
    targets = find_clips(store, clip_ids, source_ids)
    if not yes:
        for target in targets:
            click.echo(f"{target.clip_id}  (of {target.source_id})", err=True)
        click.confirm(f"Erase {_clips(len(targets))} of {store.uri} for good?", abort=True, err=True)
    done = take_out(store, targets, reason)
    if as_json:
        _print_json(asdict(done))
    else:
        _print_takedown(done)


@dataset.command()
@click.argument("uri")
@click.argument("folder", type=click.Path(path_type=Path))
@snapshot_option
@click.option(
    "--as", "kind", type=click.Choice(["clips", "frames"]), default="clips", show_default=True, help="mp4, or jpg."
)
@click.option(
    "--split", "splits", multiple=True, type=click.Choice(["train", "val", "test"]), help="Only this; repeat."
)
@click.option("--label", "labels", multiple=True, help="Only this; may be given several times.")
@click.option("--variants", is_flag=True, help="Also the augmented ones, with --as frames.")
@click.option("--link", is_flag=True, help="Hard links instead of copies, on one file system.")
@click.option("--header", is_flag=True, help="Begin each CSV with path,label.")
@click.option(
    "--separator",
    type=click.Choice(["comma", "space"]),
    default="comma",
    show_default=True,
    help="Between path and label_id; pytorchvideo's from_csv and SlowFast's default want a space.",
)
@as_json_option
def export(
    uri: str,
    folder: Path,
    snapshot: str,
    kind: Any,
    splits: tuple[str, ...],
    labels: tuple[str, ...],
    variants: bool,
    link: bool,
    header: bool,
    separator: str,
    as_json: bool,
) -> None:
    """Write the clips of the dataset at URI into FOLDER: {split}/{label}/{clip_id}.mp4, and {split}.csv.

    With --as frames {split}/{label}/{clip_id}/00001.jpg and so on. Each CSV has path,label_id, the paths relative to
    FOLDER; classes.txt has the labels in the order of label_id. FOLDER is new or empty, or holds the same export cut
    short, which goes on.
    """
    from vidclf.maintenance.export import Options
    from vidclf.maintenance.export import export as write

    options = Options(kind, splits, labels, variants, link, header, {"comma": ",", "space": " "}[separator])
    done = write(Store(uri), folder, options, snapshot)
    if as_json:
        _print_json(asdict(done))
    else:
        _print_exported(done)


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, indent=2))


def _print_verification(found: Verification) -> None:
    for problem in found.problems:
        click.echo(problem)
    if found.num_problems > len(found.problems):
        click.echo(f"… and {found.num_problems - len(found.problems)} more")
    aside = [
        f"{number} {what}"
        for number, what in ((found.removed, "removed on request"), (found.dropped, "files removed by gc"))
        if number
    ]
    state = "intact" if found.intact else f"{found.num_problems} problem{'s' if found.num_problems != 1 else ''}"
    how = "looked for" if found.quick else "read"
    click.echo(
        f"snapshot {found.snapshot_id}: {state}{' but for ' + ', '.join(aside) if aside else ''}; "
        f"{found.annotations} annotations, {_clips(found.clips)} {how}"
    )


def _print_collected(found: Collected) -> None:
    verb = "would be removed" if found.dry_run else "removed"
    for kind, tally in sorted(found.removed.items()):
        click.echo(f"{kind:16} {tally.files:>9,} files {_size(tally.bytes):>10}")
    click.echo(f"{verb}: {found.total.files:,} files, {_size(found.total.bytes)}")
    if found.unpublished.files:
        click.echo(
            f"kept: {found.unpublished.files:,} files, {_size(found.unpublished.bytes)}, made since the last publish "
            "(--unpublished removes them)"
        )
    click.echo(f"snapshots kept: {', '.join(found.kept_snapshots) or 'none'}")


def _print_takedown(done: Takedown) -> None:
    click.echo(
        f"{_clips(len(done.clip_ids))} removed: {done.videos} videos, {done.frames} rows of frames and {done.reports} "
        f"reports erased; {f'the latest snapshot is {done.snapshot_id}' if done.snapshot_id else 'nothing was published yet'}"
    )


def _print_exported(done: Exported) -> None:
    counts = ", ".join(f"{number} {split}" for split, number in done.videos.items())
    left_out = [
        f"{number} {what}"
        for number, what in ((done.removed, "removed on request"), (done.unlabelled, "without a label"))
        if number
    ]
    click.echo(f"{counts} of snapshot {done.snapshot_id} in {done.folder}")
    if left_out:
        click.echo(f"left out: {', '.join(left_out)}")


def _clips(number: int) -> str:
    return f"{number:,} clip{'s' if number != 1 else ''}"


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
