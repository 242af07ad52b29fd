"""Tables of learned positions, resized: a transformer's published weights are for one size of input."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

#: Ends of the names of such tables in pytorchvideo's and torchvision's transformers.
_IN_TIME = ("pos_embed_temporal", "temporal_pos", "rel_pos_h", "rel_pos_w", "rel_pos_t")  # one axis each
_IN_SPACE = ("pos_embed_spatial", "spatial_pos")  # a square, row by row
_WITH_CLASS_TOKEN = ("encoder.pos_embedding",)  # a class token, then a square


def fit_positions(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with its tables of positions interpolated to the sizes that ``model`` has; all else is left as it is.

    Linear along one axis, as torchvision's MViT does with its relative positions, bicubic on a square, as in
    Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929, section 3.2.
    """
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    return {
        name: tensor if wanted.get(name) in (None, tensor.shape) else _fit(name, tensor, wanted[name].numel())
        for name, tensor in state.items()
    }


def _fit(name: str, table: Tensor, numbers: int) -> Tensor:
    channels = table.shape[-1]
    length, rest = divmod(numbers, channels)
    flat = table.reshape(-1, channels)  # (N, C)
    if rest or not name.endswith(_IN_TIME + _IN_SPACE + _WITH_CLASS_TOKEN):
        return table  # of another model: loading it will say so
    leading = tuple(table.shape[:-2])  # (1,) or ()
    if name.endswith(_IN_TIME):
        fitted = functional.interpolate(flat.T[None], size=length, mode="linear")[0].T
    elif name.endswith(_IN_SPACE):
        fitted = _square(flat, length)
    else:
        fitted = flat.new_empty(length, channels)
        fitted[:1], fitted[1:] = flat[:1], _square(flat[1:], length - 1)
    return fitted.reshape(*leading, length, channels)


def _square(flat: Tensor, length: int) -> Tensor:
    """(N, C) → (length, C), both squares."""
    old, new = math.isqrt(len(flat)), math.isqrt(length)
    if old * old != len(flat) or new * new != length:
        return flat
    picture = flat.T.reshape(1, -1, old, old)
    return functional.interpolate(picture, size=(new, new), mode="bicubic").flatten(2)[0].T
