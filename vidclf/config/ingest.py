"""The configuration of the flow ``ingest``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from vidclf.config.base import Frozen, Identifier, Split
from vidclf.errors import CLIP_ERRORS
from vidclf.sources import Source, parse_source
from vidclf.sources.archives import ArchiveSource

#: The ways to select labels, of which one can be used.
LABEL_OPTIONS = ("labels", "label_contains", "label_word", "label_pattern")


def _as_tuple(value: Any) -> Any:
    """One label may be written without brackets."""
    return (value,) if isinstance(value, str) else value


Labels = Annotated[tuple[str, ...], BeforeValidator(_as_tuple, json_schema_input_type=str | tuple[str, ...])]


class AnnotationsConfig(Frozen):
    """Which clips there are. In this order: labels are merged, splits drawn, labels selected, clips sampled, limited."""

    path: str = Field(description="annotation file, or a folder of videos by class or of split files; any fsspec URI")
    layout: str | None = Field(None, description="how the list is written, as kinetics_csv; None: told by its looks")
    split_number: int = Field(1, ge=1, le=3, description="which of the official splits of UCF101 or HMDB51")
    merge: dict[str, Labels] = Field({}, description="label → the labels that become it; labels in no list stay")
    labels: tuple[str, ...] | None = Field(None, description="keep these labels only")
    label_contains: str | None = Field(None, description="keep labels that contain this text, as 'dancing' does 15")
    label_word: str | None = Field(None, description="keep labels with this whole word: 'dancing', not 'breakdancing'")
    label_pattern: str | None = Field(None, description="keep labels in which this regular expression is found")
    per_class: dict[Split, Annotated[int, Field(ge=0)]] = Field(
        {}, description="split → keep at most so many clips of each class; other splits keep all"
    )
    split_shares: dict[Split, Annotated[float, Field(ge=0, le=1)]] = Field(
        {"train": 0.8, "val": 0.1, "test": 0.1},
        description="shares of each class's sources, drawn where the list has no splits",
    )
    seed: int = Field(0, description="of drawn splits and of samples")
    limit: int | None = Field(None, ge=1, description="keep the first so many annotations: for a try")

    @model_validator(mode="after")
    def _selects_labels_in_one_way(self) -> AnnotationsConfig:
        given = [name for name in LABEL_OPTIONS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both set; at most one of {', '.join(LABEL_OPTIONS)}")
        return self

    @field_validator("labels", "label_contains", "label_word", "label_pattern")
    @classmethod
    def _selects_something(cls, value: Any) -> Any:
        if value is not None and not value:
            raise ValueError("empty; leave it out to keep every label")
        return value

    @field_validator("label_pattern")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return value

    @field_validator("merge")
    @classmethod
    def _merges_each_label_once(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        target_of: dict[str, str] = {}
        for target, sources in value.items():
            if not target.strip() or not sources:
                raise ValueError(f"{target!r}: a label and at least one that becomes it are needed")
            for source in sources:
                if target_of.setdefault(source, target) != target:
                    raise ValueError(f"{source!r} cannot become both {target_of[source]!r} and {target!r}")
                if source in value and source != target:
                    raise ValueError(f"{source!r} becomes {target!r}, and others become it: merge them at once")
        return value

    @field_validator("split_shares")
    @classmethod
    def _shares_make_a_whole(cls, value: dict[Split, float]) -> dict[Split, float]:
        if not abs(sum(value.values()) - 1) < 1e-6:
            raise ValueError(f"the shares sum to {sum(value.values()):g}, not to 1")
        return value


#: x264's names, the fastest first.
Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]  # fmt: skip


class ClipProfile(Frozen):
    """How a clip is cut and encoded. Another profile makes other files, beside the old ones.

    By default Kinetics as it is usually prepared: the short side at 256 pixels, every frame kept
    (https://github.com/facebookresearch/SlowFast, slowfast/datasets/DATASET.md), H.264 in mp4.
    """

    short_side: int = Field(
        256, ge=16, le=2160, description="pixels of the shorter side; smaller videos stay as they are"
    )
    fps: float | None = Field(
        None,
        gt=0,
        le=240,
        description="constant frame rate, frame k being what is shown at (k + ½) / fps; None keeps every frame as it is timed",
    )
    crf: int = Field(20, ge=0, le=51, description="x264 quality; 0 is the finest, 23 its default")
    preset: Preset = Field("veryfast", description="x264 preset: slower ones make smaller files")
    gop: int = Field(30, ge=1, description="largest distance of key frames, in frames: short makes seeking cheap")
    min_duration: float = Field(0.2, ge=0, description="seconds; what is shorter is too_short")
    audio: bool = Field(False, description="keep the sound, as AAC; a clip whose sound is missing or broken has none")


class FramesConfig(Frozen):
    """Which frames of a clip are stored, as JPEG in Parquet.

    As many as ``num_frames`` says, or as ``fps`` does; in the size of ``side_size``, or of ``size``.
    """

    num_frames: int | None = Field(32, ge=1, le=4096, description="frames per clip, spread evenly over its time")
    fps: float | None = Field(
        None,
        gt=0,
        le=240,
        description="frames per second of the clip, instead of num_frames: longer clips have more",
    )
    max_frames: int = Field(
        512, ge=1, le=4096, description="with fps, at most so many: longer clips have them spread evenly"
    )
    side_size: int | None = Field(
        182, ge=16, le=2160, description="pixels of the shorter side; smaller clips stay as they are"
    )
    size: tuple[Annotated[int, Field(ge=16, le=4096)], Annotated[int, Field(ge=16, le=4096)]] | None = Field(
        None, description="[width, height] in pixels, instead of side_size: exactly these, whatever the clip's shape"
    )
    quality: int = Field(90, ge=1, le=100, description="JPEG quality")

    @model_validator(mode="before")
    @classmethod
    def _one_replaces_the_other(cls, values: Any) -> Any:
        """``fps`` and ``size``, where given alone, take the place of the defaults of ``num_frames`` and ``side_size``."""
        if not isinstance(values, dict):
            return values
        replaced = {"num_frames": "fps", "side_size": "size"}
        return {usual: None for usual, other in replaced.items() if values.get(other) is not None} | values

    @model_validator(mode="after")
    def _exactly_one_of_each(self) -> FramesConfig:
        for usual, other in (("num_frames", "fps"), ("side_size", "size")):
            if (getattr(self, usual) is None) == (getattr(self, other) is None):
                raise ValueError(f"give either {usual} or {other}; the other one is null")
        return self


class AugmentConfig(Frozen):
    """Extra variants of clips, until each class has enough."""

    target_per_class: int = Field(ge=1, description="clips and variants together, per class and split")
    splits: tuple[Split, ...] = Field(("train",), description="the splits that are filled up")
    max_variants: int = Field(4, ge=1, description="at most so many variants of one clip")
    horizontal_flip: bool = Field(True, description="mirror some variants; not where left and right are the label")
    seed: int = 0


class PublishConfig(Frozen):
    """When the result becomes the data set's latest snapshot."""

    min_ok_share: float = Field(0.5, ge=0, le=1, description="share of the annotations that must have become clips")


class ReportConfig(Frozen):
    """The report for people that a run leaves beside its snapshot."""

    write: bool = Field(True, description="write runs/{run_id}/report.html")
    clips_per_class: int = Field(2, ge=0, le=50, description="clips of each class to look at")
    max_mb: float = Field(64, gt=0, description="size of the page; what does not fit is left out, and it says so")


class ExecutionConfig(Frozen):
    """How the work is spread. None of it changes the result."""

    num_shards: int | None = Field(
        None, ge=1, le=100_000, description="fixed when the dataset is created; None: about 1,000 clips each"
    )
    window: int = Field(2, ge=1, le=64, description="shards in work at a time")
    part_size: int = Field(32, ge=1, le=10_000, description="clips per Parquet part of frames")
    max_in_flight: int | None = Field(None, ge=1, description="Ray tasks at a time; None: twice the cluster's CPUs")
    attempts: int = Field(3, ge=1, le=20, description="tries per clip within one run, for errors that pass")
    download_timeout: float = Field(600, gt=0, description="seconds per video")
    archive_timeout: float = Field(24 * 3600, gt=0, description="seconds per archive of a source that has them")
    transcode_timeout: float = Field(300, gt=0, description="seconds per clip")
    part_timeout: float = Field(600, gt=0, description="seconds per part of frames or variants")
    keep_sources: bool = Field(True, description="keep downloaded videos in the store after the run")
    disk_budget_gb: float | None = Field(
        None, gt=0, description="GB of downloaded videos that may wait for the later stages; downloads pause above it"
    )
    retry: tuple[str, ...] = Field((), description="kinds of error to try again although they are settled, as gone")

    @field_validator("retry")
    @classmethod
    def _kinds_are_known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in CLIP_ERRORS:
                raise ValueError(f"{kind!r} is no kind of error; there are: {', '.join(sorted(CLIP_ERRORS))}")
        return kinds


class IngestConfig(Frozen):
    """Everything the flow ``ingest`` needs."""

    store: str | None = Field(None, description="folder or s3://bucket/prefix; None: $VIDCLF_HOME/store")
    dataset: Identifier = Field(description="name of the dataset: letters, digits, '.', '_' and '-'")
    annotations: AnnotationsConfig
    sources: tuple[Annotated[SerializeAsAny[Source], BeforeValidator(parse_source)], ...] = Field(min_length=1)
    clips: ClipProfile = ClipProfile()
    frames: FramesConfig = FramesConfig()
    augment: AugmentConfig | None = None
    publish: PublishConfig = PublishConfig()
    report: ReportConfig = ReportConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="after")
    def _archives_come_first(self) -> IngestConfig:
        is_archive = [isinstance(source, ArchiveSource) for source in self.sources]
        if is_archive != sorted(is_archive, reverse=True):
            raise ValueError("sources of archives, as cvdf, are read before the shards and must stand first")
        return self
