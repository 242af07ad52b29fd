"""The configuration of the flow ``evaluate``, and what it shares with ``compare``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vidclf.config.base import Frozen, Identifier, Split
from vidclf.config.training import DataConfig


class JudgingConfig(Frozen):
    """How the work of asking models is spread. None of it changes a label, nor a score but for rounding."""

    num_actors: int | None = Field(
        None, ge=1, description="processes that hold the model; None: one per core, or actors_per_gpu on every GPU"
    )
    actors_per_gpu: int = Field(2, ge=1, le=16, description="that share a GPU: one decodes while another computes")
    batch_views: int | None = Field(None, ge=1, description="views of a forward pass; None: as many as fit")
    memory_gb: float | None = Field(
        None,
        gt=0,
        description="GB that a forward pass of one actor may take, beside the model; None: what a GPU has free, on a CPU 8 views",
    )
    block_size: int = Field(
        32, ge=1, le=10_000, description="clips that are settled together: what is lost where a run is killed"
    )
    clip_timeout: float = Field(300, gt=0, description="seconds per clip after which its process is ended")


class ReportingConfig(Frozen):
    """What there is to look at afterwards."""

    top_k: int = Field(5, ge=1, le=100, description="labels per video in the table: pred_1…k, score_1…k")
    mistakes: int = Field(12, ge=0, le=200, description="the most confident mistakes to show")
    gallery: int = Field(24, ge=0, le=1000, description="videos that play beside what was said; 0: no gallery")
    max_mb: float = Field(32, gt=0, description="size of a page; what does not fit is left out, and it says so")


class EvaluateConfig(Frozen):
    """Everything the flow ``evaluate`` needs."""

    store: str | None = Field(None, description="folder or s3://bucket/prefix; None: $VIDCLF_HOME/store")
    dataset: Identifier = Field(description="name of the dataset in the store")
    snapshot: str = Field("latest", description="a snapshot_id, or 'latest'")
    split: Split = Field("test", description="the split that is judged on")
    model: str = Field(
        description="a checkpoint's folder or URI, models:/NAME@ALIAS, or with weights a name that `vidclf models` lists"
    )
    weights: str | None = Field(
        None,
        description="kinetics400: the published model with its own 400 classes, without training; or the path or URI of"
        " such a file; None: model is a checkpoint",
    )
    data: DataConfig = Field(DataConfig(), description="of a published model: reader, num_frames, crop_size, …")
    num_ensemble_views: int = Field(3, ge=1, le=100, description="views in time, spread evenly over a video")
    num_spatial_crops: Literal[1, 3] = Field(
        1, description="1: the centre; 3: left, centre and right along the longer side"
    )
    sample: int | None = Field(
        None, ge=1, description="so many annotated videos, drawn by seed; None: all of the split"
    )
    judging: JudgingConfig = JudgingConfig()
    report: ReportingConfig = ReportingConfig()
    seed: int = Field(0, description="of the sample and of the bootstrap")
    experiment: str = Field("vidclf", description="MLflow experiment")

    @model_validator(mode="after")
    def _published_models_are_known(self) -> EvaluateConfig:
        if self.weights is not None:
            from vidclf.models import require

            require(self.model)
        elif "/" not in self.model:
            raise ValueError(
                f"setting 'model' is {self.model!r}: a name needs weights: kinetics400; else give a checkpoint's folder"
            )
        return self
