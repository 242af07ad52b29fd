"""Ingest: annotations become clips, frames and a manifest."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.archives import stage_archives
from tasks.augment import augment_clips, share_out_variants
from tasks.download import download_videos
from tasks.frames import store_frames
from tasks.notify import tell_of_failure
from tasks.plan import plan_clips
from tasks.publish import publish_snapshot, write_manifest
from tasks.report import report_on
from tasks.run import ingest_run
from tasks.transcode import transcode_clips
from tasks.watch import shown_in_prefect
from tasks.window import in_window
from vidclf.config import (
    AnnotationsConfig,
    AugmentConfig,
    ClipProfile,
    ExecutionConfig,
    FramesConfig,
    IngestConfig,
    PublishConfig,
    ReportConfig,
    parse,
)


@flow(name="ingest", flow_run_name="ingest {dataset}", on_failure=[tell_of_failure], on_crashed=[tell_of_failure])
def ingest(
    dataset: str,
    annotations: AnnotationsConfig,
    sources: list[dict[str, Any]],
    store: str | None = None,
    clips: ClipProfile = ClipProfile(),
    frames: FramesConfig = FramesConfig(),
    augment: AugmentConfig | None = None,
    publish: PublishConfig = PublishConfig(),
    report: ReportConfig = ReportConfig(),
    execution: ExecutionConfig = ExecutionConfig(),
) -> str:
    """Plan, stage archives where there are some, then download, transcode and take frames shard by shard, then augment, report
    and publish.

    Returns:
        The snapshot_id that was published.
    """
    config = parse(IngestConfig, dict(locals()))
    with ingest_run(config) as run, shown_in_prefect(dataset):
        window = config.execution.window
        shards = plan_clips(run)
        stage_archives(run)
        in_window([download_videos, transcode_clips, store_frames], run, shards, window)
        in_window([augment_clips], run, share_out_variants(run), window)
        snapshot = write_manifest(run)
        report_on(run, snapshot)
        return publish_snapshot(run, snapshot)
