"""The transform: one code for training and inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from vidclf.config import DataConfig
from vidclf.data.transforms import CENTRE, Draw, Randomness, normalise, picture
from vidclf.data.view import View


def noise(frames: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, 3, height, width), dtype=torch.uint8, generator=generator)


#: Everything that a training draws, switched off.
NOTHING = DataConfig(random_crop=False, horizontal_flip=0.0)


@pytest.mark.parametrize("size", [(60, 90), (32, 32), (40, 53), (200, 131)])
def test_the_training_transform_without_randomness_is_the_inference_transform(
    make_view: Callable[..., View], size: tuple[int, int]
) -> None:
    view = make_view(side_size=40, crop_size=32)
    drawn = Randomness(NOTHING, view).draw(np.random.default_rng(0))
    frames = noise(3, *size)
    assert drawn == CENTRE
    assert torch.equal(picture(frames, view, drawn), picture(frames, view))


def test_a_picture_does_not_depend_on_how_its_bytes_lie_in_memory(make_view: Callable[..., View]) -> None:
    frames, view = noise(3, 60, 90), make_view(side_size=40, crop_size=32)
    assert torch.equal(picture(frames, view), picture(frames.contiguous(memory_format=torch.channels_last), view))


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


def test_flips_happen_as_often_as_asked_for(make_view: Callable[..., View]) -> None:
    rng = np.random.default_rng(0)

    def flips(probability: float) -> int:
        randomness = Randomness(DataConfig(horizontal_flip=probability), make_view())
        return sum(randomness.draw(rng).flip for _ in range(200))

    assert flips(0.0) == 0
    assert flips(1.0) == 200
    assert 60 < flips(0.5) < 140


#: Each thing that can be drawn, so strong that it shows.
OPTIONS = [
    dict(random_crop=True),
    dict(short_side_jitter=(40, 80)),
    dict(random_resized_crop=(0.1, 0.5)),
    dict(horizontal_flip=1.0),
    dict(rand_augment=2, rand_augment_magnitude=20),
    dict(color_jitter=0.9),
    dict(random_erase=1.0),
]


def with_only(options: dict[str, Any]) -> DataConfig:
    fixed = {} if {"short_side_jitter", "random_resized_crop"} & set(options) else {"random_crop": False}
    return DataConfig(**({"horizontal_flip": 0.0} | fixed | options))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_each_option_is_one_draw_for_all_frames_and_depends_on_its_generator_alone(
    make_view: Callable[..., View], options: dict[str, Any]
) -> None:
    view = make_view(side_size=40, crop_size=32)
    frames = noise(1, 60, 90).expand(5, -1, -1, -1)

    def drawn(seed: int) -> torch.Tensor:
        return picture(frames, view, Randomness(with_only(options), view).draw(np.random.default_rng(seed)))

    results = []
    for seed in range(12):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        results.append(drawn(seed))
        assert torch.equal(torch.get_rng_state(), state)  # dropout does not notice
        torch.manual_seed(99)
        assert torch.equal(drawn(seed), results[-1])
    for result in results:
        assert result.shape == (3, 5, 32, 32)
        assert result.dtype == torch.uint8
        assert all(torch.equal(result[:, 0], result[:, t]) for t in range(5))
    assert any(not torch.equal(result, picture(frames, view)) for result in results)
    if "horizontal_flip" not in options:
        assert len({result.numpy().tobytes() for result in results}) > 6


def test_what_is_erased_is_the_mean_colour_and_so_nothing_after_normalising(make_view: Callable[..., View]) -> None:
    view = make_view(mean=(0.2, 0.4, 0.6))
    frames = torch.full((2, 3, 32, 32), 255, dtype=torch.uint8)
    drawn = Randomness(with_only(dict(random_erase=1.0)), view).draw(np.random.default_rng(0))
    erased = picture(frames, view, drawn)
    covered = erased[0] < 255
    assert 0.01 < covered.float().mean() < 0.4
    assert normalise(erased[None], view)[0][:, covered].abs().max() < 0.01


def test_a_short_side_between_bounds_shows_more_or_less_of_the_picture(make_view: Callable[..., View]) -> None:
    randomness = Randomness(with_only(dict(short_side_jitter=(40, 44))), make_view())
    rng = np.random.default_rng(0)
    assert {randomness.draw(rng).side_size for _ in range(100)} == {40, 41, 42, 43, 44}


def test_normalising_is_per_channel(make_view: Callable[..., View]) -> None:
    view = make_view(mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    result = normalise(torch.full((1, 3, 2, 4, 4), 255, dtype=torch.uint8), view)
    assert result[0, :, 0, 0, 0].tolist() == [1.0, 1.0, 0.0]
    assert result.shape == (1, 3, 2, 4, 4)
