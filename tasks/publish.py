"""Publish: the ledger becomes a manifest with one row per annotation, and the manifest the latest snapshot."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.run import IngestRun
from tasks.watch import artifact_key
from vidclf.errors import VidclfError
from vidclf.ledger import scan
from vidclf.manifest import manifest, standing, varied
from vidclf.snapshot import Snapshot, ok_share, point_latest_at, register_classes, write_snapshot
from vidclf.stages.augment import STAGE as AUGMENT


class TooFewClips(VidclfError):
    """The snapshot was written, but is not the latest: too many clips failed."""

    kind = "too_few_clips"


class AugmentationFailed(VidclfError):
    """Some variants could not be made, for reasons that may pass, so nothing is published."""

    kind = "augmentation"


@task(name="publish", cache_policy=NO_CACHE)
def publish_snapshot(run: IngestRun) -> Snapshot:
    """Write the snapshot; make it the latest if enough clips succeeded.

    Raises:
        AugmentationFailed: variants are missing.
        TooFewClips: fewer than ``publish.min_ok_share``; the old snapshot stays the latest.
        LeaseLost: somebody else took the dataset over.
    """
    clips, classes = _manifest(run)
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


def _manifest(run: IngestRun) -> tuple[pa.Table, list[str]]:
    """The manifest as it follows from the ledger, and the classes in the order of their label_id."""
    now = standing(run.store, run.plan, run.recipes)
    variants = None
    if run.recipes.augment is not None:
        variants = scan(run.store, AUGMENT, run.recipes.augment)
        missing = run.shares.keys() - varied(variants, run.shares)
        if missing:  # a class that is not filled up would be another dataset, under a name of its own
            raise AugmentationFailed(f"{len(missing)} clips have not got their variants; run again to make them")
    run.lease.check()
    classes = register_classes(run.store, run.plan.labels)
    return manifest(now, classes, run.shares, variants), classes


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
        key=artifact_key("failures", run.config.dataset),
        table=table or [{"kind": "none", "clips": 0, "for example": "", "message": ""}],
        description=f"Failures by kind, snapshot {snapshot.snapshot_id} of {run.config.dataset}",
    )
