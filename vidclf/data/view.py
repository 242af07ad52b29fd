"""The view: what a model gets to see of a clip. Settled once, before training, and kept in the checkpoint."""

from __future__ import annotations

from pydantic import Field

from vidclf.config import DataConfig, Frozen
from vidclf.data.sampling import resolve_rate
from vidclf.errors import ConfigError
from vidclf.models import require


class StoredFrames(Frozen):
    """What the frames stage kept of a clip: the part of ``FramesConfig`` that says which frames, and how large."""

    num_frames: int | None = Field(None, ge=1, description="frames per clip, spread evenly over its time")
    fps: float | None = Field(None, gt=0, description="or so many per second, at most max_frames")
    max_frames: int = 4096
    side_size: int | None = Field(None, ge=1, description="pixels of the shorter side, at most")
    size: tuple[int, int] | None = Field(None, description="or exactly (width, height)")


class View(Frozen):
    """Sampling in time and space, and the normalisation. Training, evaluation and ``predict`` share it."""

    num_frames: int = Field(ge=1, description="frames per view")
    sampling_rate: int = Field(ge=1, description="distance of two frames of a view, in stored frames")
    side_size: int = Field(ge=16, description="pixels of the shorter side before the crop")
    crop_size: int = Field(ge=16, description="pixels of the square crop")
    mean: tuple[float, float, float] = Field(description="of R, G and B, in 0..1")
    std: tuple[float, float, float] = Field(description="of R, G and B, in 0..1")
    stored: StoredFrames = Field(description="what sampling_rate counts in, and views are cut from")


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
    spec.check_input(num_frames, crop_size)
    return View(
        num_frames=num_frames,
        sampling_rate=data.sampling_rate or resolve_rate(_typical_count(stored), num_frames, own.sampling_rate),
        side_size=side_size,
        crop_size=crop_size,
        mean=own.mean,
        std=own.std,
        stored=stored,
    )


def _typical_count(stored: StoredFrames) -> int:
    """Stored frames of a clip of ten seconds, which is Kinetics' length."""
    if stored.num_frames is not None:
        return stored.num_frames
    return max(1, min(round(10 * (stored.fps or 0)), stored.max_frames))
