"""Publish: the ledger becomes a manifest with one row per annotation, and the manifest the latest snapshot."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.augment import has_enough, shares_of
from tasks.run import IngestRun
from vidclf.clips import MANIFEST, Annotation
from vidclf.errors import AnnotationError, VidclfError
from vidclf.ledger import read_stage
from vidclf.snapshot import Snapshot, ok_share, point_latest_at, register_classes, write_snapshot
from vidclf.stages import augment, download, frames, transcode


class TooFewClips(VidclfError):
    """The snapshot was written, but is not the latest: too many clips failed."""

    kind = "too_few_clips"


@task(name="publish", cache_policy=NO_CACHE)
def publish_snapshot(run: IngestRun) -> Snapshot:
    """Write the snapshot; make it the latest if enough clips succeeded.

    Raises:
        TooFewClips: fewer than ``publish.min_ok_share``; the old snapshot stays the latest.
        LeaseLost: somebody else took the dataset over.
    """
    clips, classes = manifest(run)
    run.lease.check()
    snapshot = write_snapshot(run.store, clips, classes, run.made_by)
    run.store.write_json(f"runs/{run.run_id}/summary.json", {"snapshot_id": snapshot.snapshot_id, **snapshot.stats})
    _show_failures(run, snapshot)
    share, wanted = ok_share(clips), run.config.publish.min_ok_share
    if share < wanted:
        kinds = ", ".join(f"{number} {kind}" for kind, number in snapshot.stats["errors"].items())
        raise TooFewClips(
            f"only {share:.1%} of the clips are ok ({kinds}), and publish.min_ok_share is {wanted:.0%}: "
            f"snapshot {snapshot.snapshot_id} of {run.store.uri} was written, but not made the latest"
        )
    run.lease.check()
    point_latest_at(run.store, snapshot, run.run_id)
    get_run_logger().info("published %s: %s", snapshot.snapshot_id, snapshot.stats["status"])
    return snapshot


def manifest(run: IngestRun) -> tuple[pa.Table, list[str]]:
    """The manifest as it follows from the ledger, and the classes in the order of their label_id."""
    accounts = _Accounts(run)
    seen: Counter[str] = Counter()
    classes = register_classes(run.store, {annotation.label for annotation in run.plan.annotations if annotation.label})
    ids = {label: number for number, label in enumerate(classes)}
    rows = []
    for annotation in run.plan.annotations:
        clip_id = annotation.clip_id
        seen[clip_id] += 1
        repeated = f".{seen[clip_id]}" if seen[clip_id] > 1 else ""
        rows.append(
            {
                "annotation_id": clip_id + repeated,
                "clip_id": clip_id,
                "label": annotation.label,
                "label_id": ids[annotation.label] if annotation.label else None,
                "split": annotation.split,
                "source_id": annotation.source_id,
                "time_start": annotation.time_start,
                "time_end": annotation.time_end,
                **accounts.of(annotation),
            }
        )
    rows.sort(key=lambda row: str(row["annotation_id"]))
    return pa.Table.from_pylist(rows, schema=MANIFEST), classes


class _Accounts:
    """What the ledger says of each clip."""

    def __init__(self, run: IngestRun):
        self.downloads = read_stage(run.store, download.STAGE, None)
        self.transcodes = read_stage(run.store, transcode.STAGE, run.clip_recipe)
        self.frames = read_stage(run.store, frames.STAGE, run.frames_recipe)
        self.shares = shares_of(run, self.frames)
        self.variants = read_stage(run.store, augment.STAGE, run.augment_recipe) if run.augment_recipe else {}

    def of(self, annotation: Annotation) -> dict[str, Any]:
        """The columns of the manifest that depend on what was done."""
        if annotation.problem is not None:
            return _failure(AnnotationError.kind, annotation.problem)
        clip_id = annotation.clip_id
        made, stored = self.transcodes.get(clip_id), self.frames.get(clip_id)
        # A clip that was made needs no source any more, so its download is looked at last.
        for entry in (stored, made, self.downloads.get(annotation.source_key)):
            if entry is not None and not entry.ok:
                return _failure(entry.error_kind or "crashed", entry.error_message or "")
        if made is None or stored is None:
            return _failure("not_done", "not done: the run ended before its turn came")
        return {
            "status": "ok" if annotation.label else "unlabelled",
            "clip_path": made.path,
            "frames_path": stored.path,
            "frames_row": stored.row,
            **{
                name: getattr(made, name)
                for name in ("sha256", "bytes", "width", "height", "fps", "duration", "num_frames")
            },
            **self._variants(clip_id),
        }

    def _variants(self, clip_id: str) -> dict[str, Any]:
        number, entry = self.shares.get(clip_id, 0), self.variants.get(clip_id)
        if not number or entry is None or not has_enough(entry, number):
            return {"num_variants": 0}
        return {"num_variants": number, "variants_path": entry.path, "variants_row": entry.row}


def _failure(kind: str, message: str) -> dict[str, Any]:
    return {"status": "failed", "error_kind": kind, "error_message": message}


def _show_failures(run: IngestRun, snapshot: Snapshot) -> None:
    rows = snapshot.clips.filter(pa.compute.equal(snapshot.clips["status"], "failed")).to_pylist()
    kinds = Counter(row["error_kind"] for row in rows)
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["error_kind"], row)
    table = [
        {
            "kind": kind,
            "clips": number,
            "for example": first[kind]["annotation_id"],
            "message": first[kind]["error_message"],
        }
        for kind, number in kinds.most_common()
    ]
    create_table_artifact(
        key=f"failures-{run.config.dataset}".lower().replace("_", "-").replace(".", "-"),
        table=table or [{"kind": "none", "clips": 0, "for example": "", "message": ""}],
        description=f"Failures by kind, snapshot {snapshot.snapshot_id} of {run.config.dataset}",
    )
