"""Mixup, CutMix and balance: what a batch and a loss are made of."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from vidclf.config import DataConfig
from vidclf.data.balance import class_weights, sample_probabilities
from vidclf.data.mixing import mix

B, T, SIDE = 4, 3, 16
LABELS = torch.arange(B)


def videos() -> Tensor:
    """float (B, C, T, H, W): each clip is one value, 0, 1, 2, …"""
    return torch.arange(B).float().view(B, 1, 1, 1, 1).expand(B, 3, T, SIDE, SIDE).clone()


def mixed(config: DataConfig, seed: int = 0, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return mix(videos(), LABELS, B, config, torch.Generator().manual_seed(seed), weights)


MIXUP, CUTMIX = DataConfig(mixup_alpha=0.8), DataConfig(cutmix_alpha=1.0)
BOTH = DataConfig(mixup_alpha=0.8, cutmix_alpha=1.0)


def test_without_mixing_videos_are_as_they_were_and_targets_are_certain() -> None:
    result, targets = mixed(DataConfig())
    assert torch.equal(result, videos())
    assert torch.equal(targets, torch.eye(B))


@pytest.mark.parametrize("config", [MIXUP, CUTMIX, BOTH], ids=["mixup", "cutmix", "both"])
def test_targets_say_how_much_of_each_clip_is_there(config: DataConfig) -> None:
    for seed in range(30):
        result, targets = mixed(config, seed)
        assert result.shape == (B, 3, T, SIDE, SIDE)
        assert torch.allclose(targets.sum(dim=1), torch.ones(B))
        there = result.mean(dim=(1, 2, 3, 4))  # the mean of clip numbers, by how much there is of each
        assert torch.allclose(there, targets @ torch.arange(B).float(), atol=1e-5)


def test_mixup_blends_every_pixel_alike_and_cutmix_pastes_one_box_through_all_frames() -> None:
    blended, _ = mixed(MIXUP, 1)
    assert all(clip.unique().numel() == 1 or clip.std() < 1e-6 for clip in blended)
    pasted, targets = mixed(CUTMIX, 1)
    foreign = pasted[0] != videos()[0]
    assert 0 < foreign.float().mean() < 1
    assert bool((foreign == foreign[0, 0]).all())  # in every channel and frame
    rows, columns = foreign[0, 0].any(dim=1), foreign[0, 0].any(dim=0)
    assert bool(foreign[0, 0][rows][:, columns].all())
    assert float(targets[0, 0]) == pytest.approx(1 - float(foreign.float().mean()))


def test_with_both_a_coin_decides() -> None:
    kinds = Counter(mixed(BOTH, seed)[0].unique().numel() == B for seed in range(60))
    assert min(kinds.values()) > 15


def test_a_mix_depends_on_its_generator_alone() -> None:
    first, again, other = mixed(BOTH, 5), mixed(BOTH, 5), mixed(BOTH, 6)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("config", [MIXUP, CUTMIX], ids=["mixup", "cutmix"])
def test_a_clip_that_could_not_be_read_is_mixed_into_no_other(config: DataConfig) -> None:
    for seed in range(10):
        _, targets = mixed(config, seed, weights=torch.tensor([1.0, 0.0, 1.0, 1.0]))
        assert targets[1].tolist() == [0, 1, 0, 0]
        assert targets[[0, 2, 3], 1].tolist() == [0, 0, 0]
        assert (targets[[0, 2, 3]] > 0).sum() > 3


def test_class_weights_make_classes_equal_and_keep_the_losss_scale() -> None:
    labels = [0] * 6 + [1] * 2 + [3]
    weights = class_weights(labels, 4)
    assert weights.dtype == torch.float32
    assert weights[2] == 0
    assert torch.allclose(torch.tensor([6.0, 2.0, 1.0]) * weights[[0, 1, 3]], torch.full((3,), 3.0))
    assert float(weights[labels].mean()) == pytest.approx(1)


def test_drawing_by_probability_gives_every_class_as_often() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [4])
    probabilities = sample_probabilities(labels.tolist(), 5)
    assert probabilities.sum() == pytest.approx(1)
    drawn = labels[np.random.default_rng(0).choice(len(labels), 3000, p=probabilities)]
    assert all(900 < count < 1100 for count in Counter(drawn.tolist()).values())
    assert len(set(probabilities[:90])) == 1
