"""Variants depend on their clip alone, and fill classes up evenly."""

from __future__ import annotations

import numpy as np

from vidclf.config import AugmentConfig
from vidclf.media.augment import augment
from vidclf.stages.augment import share_out

CONFIG = AugmentConfig(target_per_class=5, max_variants=2)


def test_a_variant_is_the_same_whenever_it_is_made() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
    first = augment(frames, "clip", 1, CONFIG)
    augment(frames, "another", 1, CONFIG)
    assert np.array_equal(first, augment(frames, "clip", 1, CONFIG))
    assert not np.array_equal(first, augment(frames, "clip", 2, CONFIG))
    assert not np.array_equal(first, augment(frames, "clip", 1, AugmentConfig(target_per_class=5, seed=1)))
    assert first.shape == frames.shape


def test_all_frames_of_a_variant_are_changed_alike() -> None:
    still = np.repeat(np.random.default_rng(0).integers(0, 255, (1, 32, 48, 3), np.uint8), 5, axis=0)
    for variant in range(1, 9):
        varied = augment(still, "clip", variant, CONFIG)
        assert all(np.array_equal(varied[0], frame) for frame in varied)


def test_every_class_is_filled_up_to_its_target_and_no_clip_beyond_its_share() -> None:
    clips = [(f"a{i}", "a", "train") for i in range(3)] + [("b0", "b", "train")] + [("t0", "a", "test")]
    shares = share_out(reversed(clips), CONFIG)
    assert sum(shares[f"a{i}"] for i in range(3) if f"a{i}" in shares) == 2
    assert shares["b0"] == 2  # max_variants holds
    assert "t0" not in shares


def test_full_classes_get_nothing() -> None:
    assert share_out([(f"a{i}", "a", "train") for i in range(9)], CONFIG) == {}
