"""The optimiser, and which parameters it moves at which rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from vidclf.config import OptimConfig

Blocks = Sequence[tuple[str, nn.Module]]  # vidclf.models.blocks


def build_optimizer(blocks: Blocks, begin: int, config: OptimConfig, device: torch.device | None = None) -> Optimizer:
    """The optimiser over the blocks from ``begin`` on.

    AdamW: Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101. Fused on GPUs, where steps are many small kernels.
    """
    groups = parameter_groups(blocks, begin, len(blocks), config)
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov)
    fused = device is not None and device.type == "cuda"
    return AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused or None)


def parameter_groups(
    blocks: Blocks, begin: int, end: int, config: OptimConfig, lr_factor: float = 1.0
) -> list[dict[str, Any]]:
    """Groups of the parameters of ``blocks[begin:end]``, each with its highest rate as ``initial_lr`` and a ``name``.

    Biases and norms are not decayed. With ``layer_decay`` each block has a rate of its own, the smaller the nearer it is
    to the input (Clark et al. 2020, ELECTRA, https://arxiv.org/abs/2003.10555, appendix A.1).
    """
    decayed_by_depth = config.layer_decay < 1
    found: dict[tuple[str, bool], dict[str, Any]] = {}
    members: dict[tuple[str, bool], list[nn.Parameter]] = defaultdict(list)
    for number in range(begin, end):
        name, block = blocks[number]
        depth = len(blocks) - 1 - number
        rate = config.learning_rate * lr_factor * config.layer_decay**depth
        group = name if decayed_by_depth else _range_name(blocks, begin, end)
        for parameter in block.parameters():
            key = (group, parameter.ndim > 1)
            found[key] = {"name": group, "lr": rate, "initial_lr": rate}
            members[key].append(parameter)
    return [
        {**found[key], "params": members[key], "weight_decay": config.weight_decay if key[1] else 0.0}
        for key in sorted(found, key=lambda key: not key[1])
    ]


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """Group name → its learning rate now."""
    return {group["name"]: float(group["lr"]) for group in optimizer.param_groups}


def _range_name(blocks: Blocks, begin: int, end: int) -> str:
    if (begin, end) == (0, len(blocks)):
        return "all"
    first, last = blocks[begin][0], blocks[end - 1][0]
    return first if first == last else f"{first}-{last}"
