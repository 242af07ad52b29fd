"""The view: what a model gets to see of a clip. Settled once, before training, and kept in the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from vidclf.config import DataConfig, Frozen
from vidclf.config.training import ReaderName, Sampling
from vidclf.data.sampling import resolve_rate
from vidclf.errors import ConfigError
from vidclf.models import require

#: Frames per second that a clip is taken to have, where its own are kept: most of Kinetics' have 25 to 30.
USUAL_FPS = 30.0


class StoredFrames(Frozen):
    """Which frames of a clip there are to read, and how large: the part of ``FramesConfig``, or of ``ClipProfile``,
    that says so. Neither ``num_frames`` nor ``fps``: every frame of the clip, as it is timed."""

    num_frames: int | None = Field(None, ge=1, description="frames per clip, spread evenly over its time")
    fps: float | None = Field(None, gt=0, description="or so many per second, at most max_frames")
    max_frames: int = 4096
    side_size: int | None = Field(None, ge=1, description="pixels of the shorter side, at most")
    size: tuple[int, int] | None = Field(None, description="or exactly (width, height)")
    quality: int | None = Field(None, description="of JPEG, which leaves its marks; None: not known, or no JPEG")


class View(Frozen):
    """Sampling in time and space, and the normalisation. Training, evaluation and ``predict`` share it."""

    num_frames: int = Field(ge=1, description="frames per view")
    sampling_rate: int = Field(ge=1, description="distance of two frames of a view, in stored frames")
    side_size: int = Field(ge=16, description="pixels of the shorter side before the crop")
    crop_size: int = Field(ge=16, description="pixels of the square crop")
    mean: tuple[float, float, float] = Field(description="of R, G and B, in 0..1")
    std: tuple[float, float, float] = Field(description="of R, G and B, in 0..1")
    stored: StoredFrames = Field(description="what sampling_rate counts in, and views are cut from")
    reader: ReaderName = Field("frames", description="where they are read from: stored frames, or the clips themselves")
    sampling: Sampling = Field("random", description="how a view's frames lie in a clip's time")


def stored_frames(made_by: Mapping[str, Any], reader: ReaderName) -> StoredFrames:
    """What a reader finds of each clip of a snapshot.

    Args:
        made_by: the snapshot's settings of the stages.
        reader: "clips" reads every frame that the transcoding left: at the profile's fps, or each at its own time.
    """
    if reader == "clips":
        profile = made_by["clips"]
        return StoredFrames(fps=profile["fps"], side_size=profile["short_side"])
    frames = made_by["frames"]
    return StoredFrames.model_validate({name: frames[name] for name in StoredFrames.model_fields if name in frames})


def resolve_view(model: str, data: DataConfig, stored: StoredFrames) -> View:
    """Fill what the configuration leaves open with the model's own values.

    A crop alone also sets the side: nobody who asks for 64 pixels wants a window of 64 on a picture of 182.

    Raises:
        ConfigError: the model is unknown or does not take such a view, or the crop does not fit into the picture.
    """
    spec = require(model)
    own = spec.defaults
    num_frames = data.num_frames or own.num_frames
    crop_size = data.crop_size or min(own.crop_size, data.side_size or own.crop_size)
    side_size = data.side_size or (own.side_size if data.crop_size is None else data.crop_size)
    if crop_size > side_size:
        raise ConfigError(f"setting 'data.crop_size' is {crop_size}: larger than data.side_size, which is {side_size}")
    if data.short_side_jitter is not None and data.short_side_jitter[0] < crop_size:
        raise ConfigError(
            f"setting 'data.short_side_jitter' begins at {data.short_side_jitter[0]}:"
            f" smaller than the crop, which is {crop_size}"
        )
    spec.check_input(num_frames, crop_size)
    return View(
        num_frames=num_frames,
        sampling_rate=_rate(data, stored, num_frames, own.sampling_rate),
        side_size=side_size,
        crop_size=crop_size,
        mean=own.mean,
        std=own.std,
        stored=stored,
        reader=data.reader,
        sampling=data.sampling,
    )


def _rate(data: DataConfig, stored: StoredFrames, num_frames: int, models_own: int) -> int:
    if data.sampling != "random":
        return 1
    return data.sampling_rate or resolve_rate(_typical_count(stored), num_frames, models_own)


def _typical_count(stored: StoredFrames) -> int:
    """Stored frames of a clip of ten seconds, which is Kinetics' length."""
    if stored.num_frames is not None:
        return stored.num_frames
    return max(1, min(round(10 * (stored.fps or USUAL_FPS)), stored.max_frames))
