"""Augmented variants of a clip's frames, with albumentations: one draw per variant, the same for all frames."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from typing import Any

import numpy as np

from vidclf.config import AugmentConfig, fingerprint


def recipe_of(frames_recipe: str, config: AugmentConfig) -> str:
    """The recipe_id of variants: what makes one depends on these, and on the clip and its number, alone."""
    drawing = {"seed": config.seed, "horizontal_flip": config.horizontal_flip}
    return fingerprint({"frames": frames_recipe, "augment": drawing})


def augment(frames: np.ndarray, clip_id: str, variant: int, config: AugmentConfig) -> np.ndarray:
    """Variant ``variant`` (from 1) of a clip; it depends on the seed, the clip and the number, nothing else.

    Args:
        frames: uint8 (T, H, W, 3), RGB.

    Returns:
        uint8 (T, H, W, 3).
    """
    digest = hashlib.sha256(f"{config.seed}/{clip_id}/{variant}".encode()).digest()
    pipeline = _pipeline(config.horizontal_flip)
    pipeline.set_random_seed(int.from_bytes(digest[:4], "big"))
    return np.ascontiguousarray(pipeline(images=frames)["images"])


@cache
def _pipeline(horizontal_flip: bool) -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the package index for news otherwise
    import albumentations as A

    return A.Compose(
        [
            A.HorizontalFlip(p=0.5 if horizontal_flip else 0.0),
            A.Affine(scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), rotate=(-5, 5), p=0.7),
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.7),
            A.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=10, p=0.5),
            A.GaussianBlur(blur_limit=(3, 3), p=0.2),
        ]
    )
