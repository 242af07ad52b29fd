"""How large a model is and what one view costs, counted on torch's meta device: nothing is computed."""

from __future__ import annotations

from functools import cache

from vidclf.models import build, count_parameters, require
from vidclf.models.spec import Cost


@cache
def measure(name: str) -> Cost:
    """Parameters, and multiply-adds of one view of the model's own input, without the optional parts of the head.

    Convolutions, matrix products and attention are counted, as in the field's tables; a recurrent layer is counted by its
    formula: each weight is used once per frame.

    Raises:
        ConfigError: there is no such model.
    """
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    spec = require(name)
    own = spec.defaults
    classes = 400 if not spec.accuracy else {"ImageNet": 1000}.get(spec.accuracy.dataset, 400)
    model = build(name, classes).eval().to("meta")
    video = torch.empty(1, 3, own.num_frames, own.crop_size, own.crop_size, device="meta")
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(video)
    recurrent = sum(count_parameters(module) for module in model.modules() if isinstance(module, nn.RNNBase))
    return Cost(count_parameters(model), (counter.get_total_flops() / 2 + recurrent * own.num_frames) / 1e9)
