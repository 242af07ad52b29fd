"""Clips as an evaluation reads them: several views in time, each cropped once or three times."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import torch
from torch import Tensor

from vidclf.data.dataset import ClipDataset
from vidclf.data.readers import Frames
from vidclf.data.sampling import view_windows
from vidclf.data.transforms import CENTRE, Draw, picture
from vidclf.data.view import View
from vidclf.errors import ConfigError
from vidclf.storage import Store

#: Left, centre and right of a wide picture; of a tall one, top, centre and bottom.
PLACES = {1: (0.5,), 3: (0.0, 0.5, 1.0)}


class EvaluationClips(ClipDataset):
    """The ok clips of one split, unaltered, each with ``num_ensemble_views`` × ``num_spatial_crops`` views.

    View ``v`` is crop ``v % num_spatial_crops`` of the window ``v // num_spatial_crops`` in time, as SlowFast counts them
    (https://github.com/facebookresearch/SlowFast, slowfast/datasets/kinetics.py).

    Raises:
        ConfigError: as ``ClipDataset``, or the number of crops is neither 1 nor 3.
    """

    def __init__(
        self,
        manifest: pa.Table,
        store: Store,
        classes: Sequence[str],
        split: str,
        view: View,
        num_ensemble_views: int = 1,
        num_spatial_crops: int = 1,
    ):
        if num_spatial_crops not in PLACES:
            raise ConfigError(f"num_spatial_crops is {num_spatial_crops}; it can be 1 or 3")
        if num_ensemble_views < 1:
            raise ConfigError(f"num_ensemble_views is {num_ensemble_views}; at least 1")
        num_views = num_ensemble_views * num_spatial_crops
        super().__init__(manifest, store, classes, split, view, train=False, num_views=num_views)
        self.num_ensemble_views, self.num_spatial_crops = num_ensemble_views, num_spatial_crops

    def read(self, index: int) -> Tensor:
        """All views of a clip: uint8 (V, C, T, H, W).

        Raises:
            StorageError: it cannot be fetched.
            ClipError: it is damaged, or was taken out.
        """
        with self._reader.open(self.entries[index]) as frames:
            return clip_views(frames, self.view, self.num_ensemble_views, self.num_spatial_crops)


def clip_views(frames: Frames, view: View, num_ensemble_views: int, num_spatial_crops: int) -> Tensor:
    """uint8 (num_ensemble_views · num_spatial_crops, C, T, crop_size, crop_size)."""
    windows = view_windows(len(frames), view.num_frames, view.sampling_rate, num_ensemble_views, view.sampling)
    pictures = frames.decode(windows.flatten().tolist())  # (E·T, C, H, W)
    cropped = [picture(pictures, view, place) for place in crops(pictures, num_spatial_crops)]  # S of (C, E·T, h, w)
    together = torch.stack(cropped, dim=1)  # (C, S, E·T, h, w)
    channels, _, _, height, width = together.shape
    shape = (channels, num_spatial_crops, num_ensemble_views, view.num_frames, height, width)
    return together.reshape(shape).permute(2, 1, 0, 3, 4, 5).flatten(0, 1).contiguous()


def crops(frames: Tensor, num_spatial_crops: int) -> list[Draw]:
    """Where frames (T, C, H, W) are cropped: along the longer side, in the middle of the shorter one."""
    if num_spatial_crops == 1:
        return [CENTRE]
    if frames.shape[-1] >= frames.shape[-2]:
        return [Draw(top=0.5, left=place, flip=False) for place in PLACES[num_spatial_crops]]
    return [Draw(top=place, left=0.5, flip=False) for place in PLACES[num_spatial_crops]]
