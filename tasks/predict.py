"""Predicting a whole dataset over Ray: ``vidclf predict --dataset``. Imports no Prefect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import click

from tasks.cluster import cluster, num_cpus, num_gpus
from tasks.fanout import fan_out
from vidclf import memory
from vidclf.errors import ConfigError
from vidclf.models.checkpoint import read_card
from vidclf.predict.dataset import Clip, Part, Said, answer_part, clips_of, fits, rows_of, table_of
from vidclf.snapshot import read_snapshot
from vidclf.storage import Store, absolute_uri

CLIPS_PER_PART = 32
PART_SECONDS = 3600.0
ATTEMPTS = 3  # where the store fails


def predict_dataset(
    dataset: str,
    model: str,
    split: str | None,
    snapshot_id: str,
    output: str,
    top_k: int,
    num_views: int,
    device: str | None,
) -> None:
    """Ask a model about the clips of a dataset, and write ``vidclf.predict.dataset.PREDICTIONS`` as one Parquet file.

    Args:
        dataset: the dataset's own place, as ``.vidclf/store/datasets/dancing``.
        model: a checkpoint's folder or URI, or ``models:/NAME@ALIAS``.
        split: only this one; None: all.
        output: path or URI of the file.
        device: "cpu" or "cuda"; None: the GPUs where the cluster has some.

    Raises:
        ConfigError: there is no such dataset, split or model, or the file cannot be written.
        StorageError: the store failed.
    """
    store, place = Store(dataset), _place(output)
    snapshot = read_snapshot(store, snapshot_id)
    model = _settled(model)
    view = read_card(model).view
    rows, as_stored = rows_of(snapshot, split), fits(snapshot, view)
    if not as_stored:
        click.echo(
            "the model was trained on other frames than this dataset holds: they are taken from its clips", err=True
        )
    clips = clips_of(rows, view, as_stored)
    said: dict[str, Said] = {}
    with cluster():
        gpus = _gpus(device)
        part = Part(store, model, (), as_stored, top_k, num_views, "cuda" if gpus else "cpu")
        for answers in _answers(_parts(part, clips), gpus):
            before = len(said)
            said |= {one.clip_id: one for one in answers}
            if 10 * len(said) // len(clips) > 10 * before // len(clips):
                click.echo(f"{len(said)} of {len(clips)} clips", err=True)
    folder, name = place
    table = table_of(rows, said)
    folder.write_table(name, table)
    failed = Counter(kind for kind in table["error_kind"].to_pylist() if kind)
    kinds = f" ({', '.join(f'{number} {kind}' for kind, number in sorted(failed.items()))})" if failed else ""
    click.echo(f"{output}: {len(table)} annotations, {failed.total()} failed{kinds}; {num_views} views each")


def _parts(part: Part, clips: Sequence[Clip]) -> list[Part]:
    """Enough of them that every core has some, and none so large that its loss would hurt."""
    size = max(1, min(CLIPS_PER_PART, len(clips) // (2 * num_cpus())))
    return [replace(part, clips=tuple(clips[begin : begin + size])) for begin in range(0, len(clips), size)]


def _answers(parts: Sequence[Part], gpus: float) -> Iterator[list[Said]]:
    """Each part's answers. Of a part that killed its process, each clip is asked about once more, alone."""
    alone: list[Part] = []
    for settled in fan_out(answer_on_worker, parts, timeout=PART_SECONDS, attempts=ATTEMPTS, gpus=gpus):
        if settled.value is not None:
            yield settled.value
        elif len(settled.job.clips) > 1:
            alone += settled.job.alone()
        else:
            assert settled.error is not None
            yield [Said(settled.job.clips[0].clip_id, (), settled.error.kind, str(settled.error))]
    if alone:
        yield from _answers(alone, gpus)


def answer_on_worker(part: Part) -> list[Said]:
    """In a Ray worker, which has one core."""
    import torch

    torch.set_num_threads(1)
    with memory.kept():
        return answer_part(part)


def _settled(model: str) -> str:
    """The model by a name that other processes understand, and that means the same to all of them."""
    if model.startswith("models:/"):
        from vidclf.tracking.models import pinned

        return pinned(model)
    return absolute_uri(model)


def _gpus(device: str | None) -> float:
    if device not in (None, "cpu", "cuda"):
        raise ConfigError(f"--device {device}: with --dataset it is cpu or cuda, and Ray says which")
    if device == "cuda" and not num_gpus():
        raise ConfigError("--device cuda: the cluster has no GPU")
    return 1.0 if num_gpus() and device != "cpu" else 0.0


def _place(output: str) -> tuple[Store, str]:
    """The folder and the name of the file to write, which is tried.

    Raises:
        ConfigError: it is a folder, or has no name.
    """
    folder, _, name = absolute_uri(output).rpartition("/")
    if not name or not folder or Store(absolute_uri(output)).fs.isdir(Store(absolute_uri(output)).root):
        raise ConfigError(f"--output {output} is a folder; the path of a file is wanted, as predictions.parquet")
    store = Store(folder)
    store.check_writable()
    return store, name
