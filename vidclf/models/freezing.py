"""Freezing: the first blocks of a model stay as they are, statistics of their BatchNorm layers included."""

from __future__ import annotations

from torch import nn

from vidclf.errors import ConfigError
from vidclf.models.blocks import blocks


def freeze_below(model: nn.Module, block: int) -> None:
    """Freeze ``blocks(model)[:block]`` and unfreeze the rest; call ``set_training_mode`` afterwards.

    ``freeze_below(model, 0)`` unfreezes all, ``freeze_below(model, len(blocks(model)) - 1)`` leaves the head alone.

    Raises:
        ConfigError: there are not so many blocks, or the head would be frozen too.
    """
    known = blocks(model)
    if not 0 <= block < len(known):
        names = ", ".join(f"{number} {name}" for number, (name, _) in enumerate(known))
        raise ConfigError(f"cannot freeze below block {block}: allowed are 0 to {len(known) - 1}; the blocks: {names}")
    for number, (_, module) in enumerate(known):
        module.requires_grad_(number >= block)
    for _, module in known[:block]:
        for parameter in module.parameters():
            parameter.grad = None  # an optimiser that holds it would go on with the last one


def frozen_blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The blocks that have parameters and train none of them."""
    return [(name, module) for name, module in blocks(model) if _is_frozen(module)]


def set_training_mode(model: nn.Module) -> None:
    """``model.train()``, but with the frozen blocks in eval: their BatchNorm keeps its statistics, nothing drops out."""
    model.train()
    for _, module in frozen_blocks(model):
        module.eval()


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
