"""The optimiser and its schedule."""

from __future__ import annotations

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from vidclf.config import OptimConfig


def build_optimizer(model: nn.Module, config: OptimConfig) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101); biases and norms are not decayed."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


def build_schedule(optimizer: AdamW, config: OptimConfig, total_steps: int) -> OneCycleLR:
    """One cycle over the whole training: up to ``learning_rate``, then down to almost nothing.

    Smith & Topin 2018, "Super-Convergence", https://arxiv.org/abs/1708.07120
    """
    return OneCycleLR(optimizer, max_lr=config.learning_rate, total_steps=total_steps)
