"""The transform: one code for training and inference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vidclf.data.transforms import CENTRE, Draw, draw, normalise, picture
from vidclf.data.view import View


def noise(frames: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, 3, height, width), dtype=torch.uint8, generator=generator)


class NoRandomness(np.random.Generator):
    """A generator whose every number is in the middle."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, size: int) -> np.ndarray:  # type: ignore[override]
        return np.full(size, 0.5)


def test_the_training_transform_without_randomness_is_the_inference_transform(make_view: Callable[..., View]) -> None:
    view = make_view(side_size=40, crop_size=32)
    drawn = draw(NoRandomness(), horizontal_flip=0.5)
    frames = noise(3, 60, 90)
    assert drawn == CENTRE
    assert torch.equal(picture(frames, view, drawn), picture(frames, view))


@pytest.mark.parametrize("size", [(32, 32), (20, 31), (100, 64), (64, 100), (33, 257)])
def test_any_size_becomes_a_square_with_channels_first(make_view: Callable[..., View], size: tuple[int, int]) -> None:
    result = picture(noise(4, *size), make_view(side_size=40, crop_size=32))
    assert result.shape == (3, 4, 32, 32)
    assert result.dtype == torch.uint8


def test_the_shorter_side_is_resized_and_the_middle_is_cropped(make_view: Callable[..., View]) -> None:
    frames = torch.zeros(1, 3, 64, 192, dtype=torch.uint8)
    frames[..., 64:128] = 255  # the middle third is white
    assert (picture(frames, make_view())[..., 2:-2] == 255).all()


def test_all_frames_of_a_clip_get_the_same_draw(make_view: Callable[..., View]) -> None:
    frames = noise(1, 48, 64).expand(5, -1, -1, -1)
    result = picture(frames, make_view(), Draw(top=0.1, left=0.9, flip=True))
    assert all(torch.equal(result[:, 0], result[:, t]) for t in range(5))


def test_a_flip_mirrors_left_and_right(make_view: Callable[..., View]) -> None:
    frames = noise(2, 32, 32)
    assert torch.equal(picture(frames, make_view(), Draw(0.5, 0.5, True)), picture(frames, make_view()).flip(-1))


def test_flips_happen_as_often_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    assert not any(draw(rng, 0.0).flip for _ in range(200))
    assert all(draw(rng, 1.0).flip for _ in range(200))
    assert 60 < sum(draw(rng, 0.5).flip for _ in range(200)) < 140


def test_normalising_is_per_channel(make_view: Callable[..., View]) -> None:
    view = make_view(mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    result = normalise(torch.full((1, 3, 2, 4, 4), 255, dtype=torch.uint8), view)
    assert result[0, :, 0, 0, 0].tolist() == [1.0, 1.0, 0.0]
    assert result.shape == (1, 3, 2, 4, 4)
