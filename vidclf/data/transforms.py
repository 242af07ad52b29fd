"""From decoded frames to what a model takes. The same code for training, evaluation and ``predict``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from vidclf.config import DataConfig
from vidclf.data.view import View


@dataclass(frozen=True)
class Draw:
    """What is random about a clip's picture, drawn once so that all its frames get the same."""

    top: float  # 0..1: where the crop lies between the upper and the lower edge
    left: float  # 0..1: likewise between left and right
    flip: bool  # mirrored, left to right
    side_size: int | None = None  # pixels of the shorter side before the crop; None: the view's
    area: tuple[float, float] | None = None  # of a random resized crop: least and largest share of the picture
    pixels: tuple[v2.Transform, ...] = field(default=(), compare=False)  # what else is done, after the crop
    seed: int = 0  # of what ``area`` and ``pixels`` draw


#: No randomness: the middle of the picture, as it is.
CENTRE = Draw(top=0.5, left=0.5, flip=False)


class Randomness:
    """What a training draws for each clip, as its configuration says.

    Args:
        data: random_crop, short_side_jitter, random_resized_crop, horizontal_flip, rand_augment, color_jitter and
            random_erase are used. With all of them off, every draw is ``CENTRE``.
        view: its mean is the colour of what is erased.
    """

    def __init__(self, data: DataConfig, view: View):
        self._data = data
        self._pixels = tuple(_pixel_transforms(data, view))

    def draw(self, rng: np.random.Generator) -> Draw:
        """The draw of one clip. It depends on ``rng`` alone."""
        data = self._data
        top, left, coin = rng.random(3) if data.random_crop else (0.5, 0.5, rng.random())
        side_size = None
        if data.short_side_jitter is not None:
            low, high = data.short_side_jitter
            side_size = int(rng.integers(low, high + 1))
        seed = int(rng.integers(2**63)) if self._pixels or data.random_resized_crop else 0
        flip = bool(coin < data.horizontal_flip)
        return Draw(float(top), float(left), flip, side_size, data.random_resized_crop, self._pixels, seed)


def picture(frames: Tensor, view: View, drawn: Draw = CENTRE) -> Tensor:
    """Resize the shorter side, crop a square, mirror; then whatever else was drawn.

    Args:
        frames: uint8 (T, C, H, W), any size.
        view: side_size and crop_size are used.
        drawn: ``CENTRE`` wherever a result is to be the same each time.

    Returns:
        uint8 (C, T, crop_size, crop_size): still bytes, since they travel to the device four times faster than floats.
    """
    with _seeded(drawn):
        frames = _cropped(frames, view, drawn)
        frames = frames.transpose(0, 1).contiguous().transpose(0, 1)  # as the result lies: cheaper to mirror
        if drawn.flip:
            frames = functional.horizontal_flip(frames)
        for transform in drawn.pixels:
            frames = transform(frames)
    return frames.transpose(0, 1).contiguous()


def normalise(videos: Tensor, view: View) -> Tensor:
    """uint8 (B, C, T, H, W) → float32 of the same shape, minus the mean, over the standard deviation, per channel."""
    shape = (1, -1, 1, 1, 1)
    mean = torch.tensor(view.mean, device=videos.device).view(shape)
    std = torch.tensor(view.std, device=videos.device).view(shape)
    return (videos.float() / 255 - mean) / std


def _cropped(frames: Tensor, view: View, drawn: Draw) -> Tensor:
    if drawn.area is not None:
        crop = v2.RandomResizedCrop(view.crop_size, scale=drawn.area, antialias=True)
        return _fast(crop, frames)
    frames = _resize_short_side(frames, drawn.side_size or view.side_size)
    height, width = frames.shape[-2:]
    top = round(drawn.top * (height - view.crop_size))
    left = round(drawn.left * (width - view.crop_size))
    cropped: Tensor = functional.crop(frames, top, left, view.crop_size, view.crop_size)
    return cropped


def _resize_short_side(frames: Tensor, side_size: int) -> Tensor:
    height, width = frames.shape[-2:]
    short = min(height, width)
    if short == side_size:
        return frames
    size = [max(side_size, round(height * side_size / short)), max(side_size, round(width * side_size / short))]
    return _fast(v2.Resize(size, antialias=True), frames)


def _fast(resize: v2.Transform, frames: Tensor) -> Tensor:
    """With the channels innermost, as decoders leave them, resizing bytes takes half the time."""
    resized: Tensor = resize(frames.contiguous(memory_format=torch.channels_last))
    return resized


def _pixel_transforms(data: DataConfig, view: View) -> Iterator[v2.Transform]:
    """In the order of the field: https://github.com/huggingface/pytorch-image-models, timm/data/transforms_factory.py."""
    if data.rand_augment:
        fill = [255 * mean for mean in view.mean]
        yield v2.RandAugment(data.rand_augment, data.rand_augment_magnitude, fill=fill)
    if data.color_jitter:
        yield v2.ColorJitter(data.color_jitter, data.color_jitter, data.color_jitter)
    if data.random_erase:
        yield v2.RandomErasing(data.random_erase, value=[255 * mean for mean in view.mean])


@contextmanager
def _seeded(drawn: Draw) -> Iterator[None]:
    """torchvision draws from torch's global generator: seeded for this clip, and then put back."""
    if not drawn.pixels and drawn.area is None:
        yield
        return
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(drawn.seed)  # not torch.manual_seed: that seeds the GPUs too
    try:
        yield
    finally:
        torch.set_rng_state(state)
