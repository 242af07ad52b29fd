"""Variants depend on their clip alone, and fill classes up evenly."""

from __future__ import annotations

import numpy as np

from vidclf.config import AugmentConfig
from vidclf.media.augment import augment, recipe_of
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


def test_a_variant_is_the_same_alone_in_company_and_in_any_order() -> None:
    clips = {name: np.random.default_rng(n).integers(0, 255, (3, 32, 48, 3), np.uint8) for n, name in enumerate("abc")}
    alone = {(name, k): augment(clips[name], name, k, CONFIG) for name in "abc" for k in (1, 2, 3)}
    for name, k in reversed(alone):
        assert np.array_equal(augment(clips[name], name, k, CONFIG), alone[name, k])


def test_a_variant_of_one_frame_is_that_frame_of_the_whole_clip_s_variant() -> None:
    """The draw does not depend on how many frames there are."""
    frames = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
    for variant in range(1, 9):
        assert np.array_equal(
            augment(frames[:1], "clip", variant, CONFIG)[0], augment(frames, "clip", variant, CONFIG)[0]
        )


def test_a_mirror_is_drawn_only_where_it_is_allowed() -> None:
    marked = np.zeros((1, 64, 64, 3), np.uint8)
    marked[:, 16:48, 4:20] = 255  # bright on the left
    upright = AugmentConfig(target_per_class=5, horizontal_flip=False)
    sides = {config.horizontal_flip: set() for config in (CONFIG, upright)}
    for config in (CONFIG, upright):
        for variant in range(1, 17):
            varied = augment(marked, "clip", variant, config)[0].astype(int)
            sides[config.horizontal_flip].add("left" if varied[:, :32].sum() > varied[:, 32:].sum() else "right")
    assert sides == {True: {"left", "right"}, False: {"left"}}


def test_recipes_change_with_what_changes_the_pictures_and_with_nothing_else() -> None:
    base = recipe_of("frames", CONFIG)
    assert base == recipe_of("frames", CONFIG.model_copy(update={"target_per_class": 50, "max_variants": 9}))
    others = [recipe_of("other", CONFIG)]
    others += [
        recipe_of("frames", CONFIG.model_copy(update=change)) for change in ({"seed": 1}, {"horizontal_flip": False})
    ]
    assert len({base, *others}) == 4


def test_the_splits_that_are_named_are_filled_up_each_on_its_own() -> None:
    clips = [("t0", "a", "train"), ("v0", "a", "val")]
    everywhere = AugmentConfig(target_per_class=3, splits=("train", "val", "test"))
    assert share_out(clips, everywhere) == {"t0": 2, "v0": 2}
    assert share_out(clips, AugmentConfig(target_per_class=3)) == {"t0": 2}


def test_every_class_is_filled_up_to_its_target_and_no_clip_beyond_its_share() -> None:
    clips = [(f"a{i}", "a", "train") for i in range(3)] + [("b0", "b", "train")] + [("t0", "a", "test")]
    shares = share_out(reversed(clips), CONFIG)
    assert sum(shares[f"a{i}"] for i in range(3) if f"a{i}" in shares) == 2
    assert shares["b0"] == 2  # max_variants holds
    assert "t0" not in shares


def test_full_classes_get_nothing() -> None:
    assert share_out([(f"a{i}", "a", "train") for i in range(9)], CONFIG) == {}
