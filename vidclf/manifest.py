"""From the ledger to the manifest, by columns: where every clip of a plan stands, and one row per annotation of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vidclf.clips import LEDGER, MANIFEST
from vidclf.errors import CLIP_ERRORS, AnnotationError, Crashed, Removed, is_settled
from vidclf.ledger import DROPPED, scan
from vidclf.plan import Plan
from vidclf.recipes import Recipes
from vidclf.stages import download, frames, transcode
from vidclf.storage import Store
from vidclf.takedown import MESSAGE, removed_ids, removed_sources

NOT_DONE = "not_done"
_OUTCOME = ("outcome", "error_kind", "error_message", "source")
_CLIP = ("path", "sha256", "bytes", "width", "height", "fps", "duration", "num_frames")


@dataclass(frozen=True)
class Standing:
    """What the ledger says of every row of a plan. All tables and arrays have the plan's rows, in its order."""

    plan: Plan
    download: pa.Table  # the ledger's columns, null where there is no entry
    transcode: pa.Table
    frames: pa.Table
    error_kind: pa.Array  # null: ok
    error_message: pa.Array
    settled: pa.Array  # bool: a rerun leaves it alone

    @property
    def ok(self) -> pa.Array:
        return pc.is_null(self.error_kind)

    def open_shards(self) -> list[int]:
        """The shards in which there is something to do."""
        rows = self.plan.rows.filter(pc.and_(self.plan.rows["used"], pc.invert(self.settled)))
        return sorted(pc.unique(rows["shard"]).to_pylist())


def standing(store: Store, plan: Plan, recipes: Recipes, retry: Collection[str] = ()) -> Standing:
    """Read the ledger and say where every clip stands.

    Args:
        retry: kinds of error that count as open although they are permanent.
    """
    clip_ids = plan.rows["clip_id"]
    downloads = _aligned(scan(store, download.STAGE, None, (*_OUTCOME, "path")), clip_ids)
    clips = _aligned(scan(store, transcode.STAGE, recipes.clips, (*_OUTCOME, *_CLIP)), clip_ids)
    stored = _aligned(scan(store, frames.STAGE, recipes.frames, (*_OUTCOME, "path", "row")), clip_ids)
    kind = pa.nulls(len(clip_ids), pa.string())
    message = pa.nulls(len(clip_ids), pa.string())
    # From the last stage to the first: a clip that was made needs no source any more.
    undone = pc.or_(pc.is_null(clips["key"]), pc.is_null(stored["key"]))
    kind = pc.if_else(undone, NOT_DONE, kind)
    message = pc.if_else(undone, "not done: the run ended before its turn came", message)
    failed_download = pc.and_(pc.is_null(clips["key"]), pc.equal(pc.fill_null(downloads["outcome"], ""), "failed"))
    for failed, entries in ((failed_download, downloads), (_failed(clips), clips), (_failed(stored), stored)):
        kind = pc.if_else(failed, pc.fill_null(entries["error_kind"], Crashed.kind), kind)
        message = pc.if_else(failed, pc.fill_null(entries["error_message"], ""), message)
    stale = pc.and_(failed_download, pc.not_equal(pc.fill_null(downloads["recipe"], ""), recipes.download))
    open_kinds = [NOT_DONE, *retry, *(kind for kind, error in CLIP_ERRORS.items() if not error.permanent)]
    is_open = pc.or_(pc.is_in(kind, pa.array(open_kinds)), stale)  # other sources may have what these had not
    removed = pc.or_(
        pc.is_in(clip_ids, pa.array(removed_ids(store), pa.string())),
        pc.is_in(plan.rows["source_id"], pa.array(removed_sources(store), pa.string())),
    )
    problem = plan.rows["problem"]
    kind = pc.if_else(removed, Removed.kind, kind)
    message = pc.if_else(removed, MESSAGE, message)
    kind = pc.if_else(pc.is_valid(problem), AnnotationError.kind, kind)
    message = pc.if_else(pc.is_valid(problem), problem, message)
    settled = pc.or_(pc.invert(is_open), pc.or_(removed, pc.is_valid(problem)))
    return Standing(plan, downloads, clips, stored, kind, message, settled)


def variants_wanted(now: Standing) -> list[tuple[str, str, str, str]]:
    """(clip_id, source_id, label, split) of every clip that is ok and has a label; one annotated twice counts once."""
    rows = now.plan.rows
    wanted = rows.filter(pc.and_(pc.and_(now.ok, rows["used"]), pc.is_valid(rows["label"])))
    columns = (wanted[name].to_pylist() for name in ("clip_id", "source_id", "label", "split"))
    return list(zip(*columns, strict=True))


def manifest(
    now: Standing, classes: Sequence[str], shares: Mapping[str, int], variants: pa.Table | None = None
) -> pa.Table:
    """One row per annotation, ``MANIFEST``, sorted by annotation_id.

    Args:
        classes: index = label_id.
        shares: clip_id → how many variants it is to have.
        variants: the ledger's table of the stage augment; None: there are none.
    """
    rows, ok = now.plan.rows, now.ok
    made = _where(now.transcode, ok)
    stored = _where(now.frames, ok)
    made_variants = _aligned(variants if variants is not None else LEDGER.empty_table(), rows["clip_id"])
    share = pa.array([shares.get(clip, 0) for clip in rows["clip_id"].to_pylist()], pa.int32())
    enough = pc.and_(pc.greater(share, 0), pc.fill_null(pc.greater_equal(made_variants["num_variants"], share), False))
    made_variants = _where(made_variants, pc.and_(enough, ok))
    status = pc.if_else(ok, pc.if_else(pc.is_valid(rows["label"]), "ok", "unlabelled"), "failed")
    columns = {
        **{name: rows[name] for name in ("annotation_id", "clip_id", "label", "split", "source_id", "time_start", "time_end")},
        "label_id": pc.index_in(rows["label"], pa.array(classes, pa.string())),
        "status": status,
        "error_kind": now.error_kind,
        "error_message": now.error_message,
        "clip_path": made["path"],
        "frames_path": stored["path"],
        "frames_row": stored["row"],
        "num_variants": pc.if_else(ok, pc.if_else(enough, share, 0), pa.scalar(None, pa.int32())),
        "variants_path": made_variants["path"],
        "variants_row": made_variants["row"],
        **{name: made[name] for name in _CLIP if name != "path"},
    }  # fmt: skip
    table = pa.table({name: columns[name] for name in MANIFEST.names}).cast(MANIFEST)
    return table.sort_by("annotation_id").combine_chunks()


def varied(variants: pa.Table, shares: Mapping[str, int], retry: Collection[str] = ()) -> set[str]:
    """The clips of ``shares`` that have their variants, or that cannot have them.

    Args:
        retry: kinds of error that count as open although they are permanent.
    """
    columns = (variants[name].to_pylist() for name in ("key", "error_kind", "num_variants"))
    return {
        key
        for key, kind, number in zip(*columns, strict=True)
        if key in shares and (is_settled(kind) and kind not in retry if kind else number >= shares[key])
    }


def _aligned(entries: pa.Table, clip_ids: pa.ChunkedArray) -> pa.Table:
    """The entries of ``clip_ids``, a row each; null where there is none."""
    entries = entries.filter(pc.not_equal(entries["outcome"], DROPPED))
    nullable = pa.schema([field.with_nullable(True) for field in entries.schema])
    return entries.cast(nullable).take(pc.index_in(clip_ids, entries["key"].combine_chunks()))


def _where(table: pa.Table, condition: pa.Array) -> pa.Table:
    """The table, with nulls where the condition does not hold."""
    number = pa.array(range(len(table)), pa.int64())
    return table.take(pc.if_else(condition, number, pa.scalar(None, pa.int64())))


def _failed(entries: pa.Table) -> pa.Array:
    return pc.fill_null(pc.equal(entries["outcome"], "failed"), False)
