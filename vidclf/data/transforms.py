"""From decoded frames to what a model takes. The same code for training, evaluation and ``predict``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from vidclf.data.view import View


@dataclass(frozen=True)
class Draw:
    """What is random about a clip's picture, drawn once so that all its frames get the same."""

    top: float  # 0..1: where the crop lies between the upper and the lower edge
    left: float  # 0..1: likewise between left and right
    flip: bool  # mirrored, left to right


#: No randomness: the middle of the picture, as it is.
CENTRE = Draw(top=0.5, left=0.5, flip=False)


def draw(rng: np.random.Generator, horizontal_flip: float) -> Draw:
    """A random crop, mirrored with probability ``horizontal_flip``."""
    top, left, coin = rng.random(3)
    return Draw(float(top), float(left), bool(coin < horizontal_flip))


def picture(frames: Tensor, view: View, drawn: Draw = CENTRE) -> Tensor:
    """Resize the shorter side, crop a square, mirror.

    Args:
        frames: uint8 (T, C, H, W), any size.
        view: side_size and crop_size are used.
        drawn: ``CENTRE`` wherever a result is to be the same each time.

    Returns:
        uint8 (C, T, crop_size, crop_size): still bytes, since they travel to the device four times faster than floats.
    """
    frames = _resize_short_side(frames, view.side_size)
    height, width = frames.shape[-2:]
    top = round(drawn.top * (height - view.crop_size))
    left = round(drawn.left * (width - view.crop_size))
    frames = functional.crop(frames, top, left, view.crop_size, view.crop_size)
    if drawn.flip:
        frames = functional.horizontal_flip(frames)
    return frames.transpose(0, 1).contiguous()


def normalise(videos: Tensor, view: View) -> Tensor:
    """uint8 (B, C, T, H, W) → float32 of the same shape, minus the mean, over the standard deviation, per channel."""
    shape = (1, -1, 1, 1, 1)
    mean = torch.tensor(view.mean, device=videos.device).view(shape)
    std = torch.tensor(view.std, device=videos.device).view(shape)
    return (videos.float() / 255 - mean) / std


def _resize_short_side(frames: Tensor, side_size: int) -> Tensor:
    height, width = frames.shape[-2:]
    short = min(height, width)
    if short == side_size:
        return frames
    size = [max(side_size, round(height * side_size / short)), max(side_size, round(width * side_size / short))]
    resized: Tensor = functional.resize(frames, size, antialias=True)
    return resized
