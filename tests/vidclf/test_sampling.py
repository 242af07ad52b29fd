"""Temporal sampling: which stored frames a view has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vidclf.config import DataConfig, parse
from vidclf.config.training import Sampling
from vidclf.data.sampling import resolve_rate, train_window, view_windows
from vidclf.data.view import StoredFrames, resolve_view
from vidclf.errors import ConfigError


def test_a_training_window_is_regular_and_inside_the_clip() -> None:
    for seed in range(50):
        window = train_window(32, 8, 3, np.random.default_rng(seed))
        assert np.diff(window).tolist() == [3] * 7
        assert min(window) >= 0
        assert max(window) < 32


def test_training_windows_start_everywhere_they_fit() -> None:
    starts = {int(train_window(16, 4, 4, np.random.default_rng(seed))[0]) for seed in range(100)}
    assert starts == {0, 1, 2, 3}


def test_views_reach_from_the_first_frame_to_the_last() -> None:
    windows = view_windows(32, 4, 2, 3)
    assert windows.shape == (3, 4)
    assert windows[0, 0] == 0
    assert windows[-1, -1] == 31
    assert windows[1].tolist() == [12, 14, 16, 18]


def test_a_single_view_is_in_the_middle() -> None:
    assert view_windows(17, 4, 4, 1).tolist() == [[2, 6, 10, 14]]


def test_a_window_longer_than_the_clip_keeps_its_rate_and_repeats_the_last_frame() -> None:
    assert view_windows(5, 4, 3, 2).tolist() == [[0, 3, 4, 4], [0, 3, 4, 4]]
    assert train_window(5, 4, 3, np.random.default_rng(0)).tolist() == [0, 3, 4, 4]
    assert view_windows(1, 3, 1, 1).tolist() == [[0, 0, 0]]


def test_uniform_sampling_takes_one_frame_of_each_equal_part() -> None:
    assert view_windows(40, 4, 1, 1, "uniform").tolist() == [[5, 15, 25, 35]]
    for seed in range(50):
        window = train_window(40, 4, 1, np.random.default_rng(seed), "uniform")
        assert (window // 10).tolist() == [0, 1, 2, 3]
    firsts = {int(train_window(40, 4, 1, np.random.default_rng(seed), "uniform")[0]) for seed in range(200)}
    assert firsts == set(range(10))


def test_several_uniform_views_lie_between_each_other() -> None:
    assert view_windows(40, 4, 1, 2, "uniform").tolist() == [[2, 12, 22, 32], [7, 17, 27, 37]]


def test_uniform_sampling_of_a_short_clip_repeats_its_frames() -> None:
    assert view_windows(2, 5, 1, 1, "uniform").tolist() == [[0, 0, 1, 1, 1]]
    assert train_window(1, 3, 1, np.random.default_rng(0), "uniform").tolist() == [0, 0, 0]


def test_consecutive_sampling_takes_frames_in_a_row_from_anywhere() -> None:
    view = resolve_view("x3d_xs", DataConfig(sampling="consecutive"), StoredFrames(num_frames=32))
    assert (view.sampling, view.sampling_rate) == ("consecutive", 1)
    windows = [train_window(8, 4, 1, np.random.default_rng(seed), "consecutive") for seed in range(50)]
    assert all(np.diff(window).tolist() == [1, 1, 1] for window in windows)
    assert {int(window[0]) for window in windows} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("sampling", ["random", "uniform", "consecutive"])
def test_a_clip_without_frames_has_no_window_of_any_kind(sampling: Sampling) -> None:
    with pytest.raises(ValueError, match="without frames"):
        view_windows(0, 4, 1, 1, sampling)
    with pytest.raises(ValueError, match="without frames"):
        train_window(0, 4, 1, np.random.default_rng(0), sampling)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reader": "jpeg"}, "setting 'data.reader' is 'jpeg': Input should be 'frames' or 'clips'"),
        (
            {"sampling": "dense"},
            "setting 'data.sampling' is 'dense': Input should be 'random', 'uniform' or 'consecutive'",
        ),
        ({"sampling": "uniform", "sampling_rate": 2}, "leave sampling_rate out"),
        ({"sampling": "consecutive", "sampling_rate": 2}, "sampling_rate is 1, not 2"),
        ({"short_side_jitter": [200, 100]}, r"short_side_jitter is \[from, to\], and 200 is more than 100"),
        ({"random_resized_crop": [0.5, 1.5]}, "setting 'data.random_resized_crop.1' is 1.5: .*less than or equal to 1"),
        ({"random_resized_crop": [0.5, 1], "short_side_jitter": [32, 40]}, "either short_side_jitter or random_res"),
        ({"random_crop": False, "random_resized_crop": [0.5, 1]}, "does not go with random_crop false"),
        ({"rand_augment_magnitude": 31}, "setting 'data.rand_augment_magnitude' is 31"),
        ({"max_unreadable_share": 2}, "setting 'data.max_unreadable_share' is 2"),
        ({"balance": "weights"}, "'none', 'sampler' or 'loss'"),
        ({"randaugment": 2}, "setting 'data.randaugment' does not exist; there are: .*rand_augment"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_is_allowed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(DataConfig, values, "data")
    assert "\n" not in str(caught.value)


def test_every_setting_of_the_data_has_a_sentence() -> None:
    assert [name for name, field in DataConfig.model_fields.items() if not field.description] == []


def test_a_jitter_that_could_make_the_picture_smaller_than_the_crop_is_refused() -> None:
    data = DataConfig(crop_size=64, short_side_jitter=(48, 80))
    with pytest.raises(
        ConfigError, match=r"'data\.short_side_jitter' begins at 48: smaller than the crop, which is 64"
    ):
        resolve_view("x3d_xs", data, StoredFrames(num_frames=16, side_size=64))


@pytest.mark.parametrize(
    ("num_stored", "num_frames", "at_most", "rate"), [(32, 4, 12, 10), (64, 4, 12, 12), (16, 8, 8, 2), (4, 8, 8, 1)]
)
def test_the_rate_is_the_widest_that_fits_and_at_most_the_models_own(
    num_stored: int, num_frames: int, at_most: int, rate: int
) -> None:
    assert resolve_rate(num_stored, num_frames, at_most) == rate


def test_a_view_is_the_models_own_where_nothing_is_asked_for() -> None:
    view = resolve_view("x3d_xs", DataConfig(), StoredFrames(num_frames=32, side_size=182))
    assert (view.num_frames, view.sampling_rate, view.side_size, view.crop_size) == (4, 10, 182, 182)


def test_what_is_asked_for_replaces_the_models_own() -> None:
    data = DataConfig(num_frames=8, sampling_rate=1, crop_size=64)
    view = resolve_view("x3d_xs", data, StoredFrames(num_frames=16, side_size=64))
    assert (view.num_frames, view.sampling_rate, view.side_size, view.crop_size) == (8, 1, 64, 64)


def test_a_crop_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"larger than data\.side_size"):
        resolve_view("x3d_xs", DataConfig(side_size=64, crop_size=96), StoredFrames(num_frames=16, side_size=64))


def test_frames_stored_by_rate_or_in_an_exact_size_are_counted_as_kinetics_are_long() -> None:
    view = resolve_view("x3d_xs", DataConfig(), StoredFrames(fps=5, size=(112, 112)))
    assert view.sampling_rate == resolve_view("x3d_xs", DataConfig(), StoredFrames(num_frames=50)).sampling_rate
