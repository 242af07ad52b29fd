"""Publish: the ledger becomes a manifest with one row per annotation, and the manifest the latest snapshot."""

from __future__ import annotations

import pyarrow as pa
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.announce import announce
from tasks.page import places_of_data, show_run
from tasks.run import IngestRun
from vidclf.errors import VidclfError
from vidclf.ledger import scan
from vidclf.manifest import manifest, standing, varied
from vidclf.snapshot import Snapshot, ok_share, point_latest_at, register_classes, write_snapshot
from vidclf.stages.augment import STAGE as AUGMENT


class TooFewClips(VidclfError):
    """The snapshot was written, but is not the latest: too many clips failed."""

    kind = "too_few_clips"


class AugmentationFailed(VidclfError):
    """Some variants could not be made, for reasons that may pass, so there is no snapshot."""

    kind = "augmentation"


@task(name="write snapshot", cache_policy=NO_CACHE)
def write_manifest(run: IngestRun) -> Snapshot:
    """Write the snapshot as it follows from the ledger; nobody sees it yet.

    Raises:
        AugmentationFailed: variants are missing.
        LeaseLost: somebody else took the dataset over.
    """
    clips, classes = _manifest(run)
    run.lease.check()
    snapshot = write_snapshot(run.store, clips, classes, run.recipes.made_by(run.config))
    run.store.write_json(f"runs/{run.run_id}/summary.json", {"snapshot_id": snapshot.snapshot_id, **snapshot.stats})
    return snapshot


@task(name="publish", cache_policy=NO_CACHE)
def publish_snapshot(run: IngestRun, snapshot: Snapshot) -> str:
    """Make the snapshot the latest if enough clips succeeded, and announce it if it is a new one; its snapshot_id.

    Raises:
        TooFewClips: fewer than ``publish.min_ok_share``; the old snapshot stays the latest.
        LeaseLost: somebody else took the dataset over.
    """
    share, wanted = ok_share(snapshot.clips), run.config.publish.min_ok_share
    if share < wanted:
        _show(run, snapshot, f"{share:.1%} of the clips are ok: written, but not made the latest")
        kinds = ", ".join(f"{number} {kind}" for kind, number in snapshot.stats["errors"].items())
        raise TooFewClips(
            f"only {share:.1%} of the clips are ok ({kinds}), and publish.min_ok_share is {wanted:.0%}: "
            f"snapshot {snapshot.snapshot_id} of {run.store.uri} was written, but not made the latest"
        )
    run.lease.check()
    if point_latest_at(run.store, snapshot, run.run_id):
        announce(run.config, snapshot.snapshot_id)
    get_run_logger().info("published %s: %s", snapshot.snapshot_id, snapshot.stats["status"])
    _show(run, snapshot, f"{share:.1%} of the clips are ok: published")
    return snapshot.snapshot_id


def _show(run: IngestRun, snapshot: Snapshot, came_to: str) -> None:
    places = places_of_data(run.store, snapshot.snapshot_id)
    own = f"{run.store.uri}/runs/{run.run_id}/report.html" if run.config.report.write else None
    show_run(came_to, {**places, "dataset report": own})


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
