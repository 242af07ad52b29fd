"""How large a model is and what one view costs, counted on torch's meta device: nothing is computed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from vidclf.models import build, count_parameters, require
from vidclf.models.spec import Cost

if TYPE_CHECKING:
    from torch import nn


@cache
def measure(name: str) -> Cost:
    """Parameters, and multiply-adds of one view of the model's own input, without the optional parts of the head.

    Convolutions, matrix products and attention are counted, as in the field's tables; a recurrent layer is counted by its
    formula: each weight is used once per frame.

    Raises:
        ConfigError: there is no such model.
    """
    spec = require(name)
    classes = 400 if not spec.accuracy else {"ImageNet": 1000}.get(spec.accuracy.dataset, 400)
    return count(build(name, classes), spec.defaults.num_frames, spec.defaults.crop_size)


def count(model: nn.Module, num_frames: int, crop_size: int) -> Cost:
    """The same of a model that is built, for views of this size. It goes to the meta device, and is of no use after."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    model = model.eval().to("meta")
    video = torch.empty(1, 3, num_frames, crop_size, crop_size, device="meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(video)
    recurrent = sum(count_parameters(module) for module in model.modules() if isinstance(module, nn.RNNBase))
    return Cost(count_parameters(model), (counter.get_total_flops() / 2 + recurrent * num_frames) / 1e9)
