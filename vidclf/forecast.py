"""What an ingest would do, before it does it: clips by class and split, what is settled, and what the rest will take."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vidclf.config import IngestConfig
from vidclf.home import default_store
from vidclf.ledger import scan
from vidclf.manifest import Standing, standing
from vidclf.planning import plan_of
from vidclf.recipes import Recipes
from vidclf.snapshot import dataset_store
from vidclf.stages import download, frames, transcode
from vidclf.storage import Store

#: Rough figures for a dataset that has no ledger yet, per second of video: bytes of a 256-pixel clip at crf 20 and of its
#: section in 480 lines; CPU seconds to cut and encode it, and to store 32 frames of ten seconds.
ROUGH = {"clip_bytes": 60e3, "source_bytes": 120e3, "transcode": 0.07, "frames": 0.01}


@dataclass(frozen=True)
class Forecast:
    """The plan in figures."""

    counts: pa.Table  # label, split, clips, ok, failed, to_do
    annotations: int
    clips: int
    settled_ok: int
    settled_failed: int
    to_do: int
    notices: tuple[str, ...]
    download_bytes: float  # of what is to do
    clip_bytes: float
    hours: float  # with the CPUs of this machine, or as long as the sources' rates take
    basis: str  # what the estimate rests on


def forecast(config: IngestConfig) -> Forecast:
    """Read the annotations and the ledger; nothing is written.

    Raises:
        AnnotationError, ConfigError, StorageError: as the ingest would.
    """
    store = dataset_store(config.store or default_store(), config.dataset)
    plan = plan_of(config, store, create=False)
    now = standing(store, plan, Recipes.of(config), config.execution.retry)
    settled, used = now.settled, plan.rows["used"].combine_chunks()
    todo = pc.and_(used, pc.invert(settled))
    table = plan.rows.select(["label", "split"]).append_column("clips", used.cast("int32"))
    for name, mask in (
        ("ok", pc.and_(used, pc.and_(settled, now.ok))),
        ("failed", pc.and_(used, pc.and_(settled, pc.invert(now.ok)))),
        ("to_do", todo),
    ):
        table = table.append_column(name, mask.cast("int32"))
    names = ["clips", "ok", "failed", "to_do"]
    counts = table.group_by(["label", "split"]).aggregate([(name, "sum") for name in names])
    counts = counts.rename_columns(["label", "split", *names]).sort_by([("label", "ascending"), ("split", "ascending")])
    totals = {name: pc.sum(table[name]).as_py() or 0 for name in names}
    cost = _cost(store, now, todo, config)
    return Forecast(
        counts, len(plan.rows), totals["clips"], totals["ok"], totals["failed"], totals["to_do"], plan.notices, *cost
    )


def _cost(store: Store, now: Standing, todo: pa.Array, config: IngestConfig) -> tuple[float, float, float, str]:
    """Bytes to download, bytes of clips, hours, and what that rests on."""
    clips = now.plan.rows.filter(todo)
    number = len(clips)
    lengths = pc.fill_null(pc.subtract(clips["time_end"], clips["time_start"]), 10.0)
    seconds = pc.sum(lengths).as_py() or 0.0
    known = {stage: _known(store, stage) for stage in (download.STAGE, transcode.STAGE, frames.STAGE)}
    if all(known.values()):
        means = {stage: found for stage, found in known.items() if found}
        basis = "the mean of what this dataset's ledger has seen"
        source_bytes, clip_bytes = (means[stage][0] * number for stage in (download.STAGE, transcode.STAGE))
        work = sum(means[stage][1] for stage in (transcode.STAGE, frames.STAGE)) * number
    else:
        basis = "rough figures for 256-pixel clips; better ones once some clips are done"
        source_bytes, clip_bytes = ROUGH["source_bytes"] * seconds, ROUGH["clip_bytes"] * seconds
        work = (ROUGH["transcode"] + ROUGH["frames"]) * seconds
    hours = work / 3600 / (os.cpu_count() or 1)
    rate = config.sources[0].rate
    if rate and number / rate > hours:
        hours, basis = number / rate, f"{config.sources[0].kind}'s rate of {rate:g} videos an hour"
    return source_bytes, clip_bytes, hours, basis


def _known(store: Store, stage: str) -> tuple[float, float] | None:
    """Mean bytes and seconds of what succeeded in a stage; None where nothing has."""
    entries = scan(store, stage, None, ("outcome", "bytes", "seconds"))
    good = entries.filter(pc.equal(entries["outcome"], "ok"))
    if not len(good):
        return None
    return pc.mean(good["bytes"]).as_py() or 0.0, pc.mean(good["seconds"]).as_py() or 0.0
