"""The end of a network: its output layer, and pools that take any size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Layer = nn.Linear | nn.Conv2d | nn.Conv3d


def extend_head(model: nn.Module, path: str, hidden: int | None, dropout: float) -> None:
    """Put a layer of ``hidden`` units, GELU and dropout before the output layer at ``path``; None: leave it."""
    if hidden is None:
        return
    output = model.get_submodule(path)
    if not isinstance(output, Layer):
        raise TypeError(f"{path} of {type(model).__name__} is a {type(output).__name__}, not a linear layer")
    first, last = _like(output, _inputs(output), hidden), _like(output, hidden, _outputs(output))
    replace(model, path, nn.Sequential(first, nn.GELU(), nn.Dropout(dropout), last))


def replace(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put ``module`` at ``path``."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def set_dropout(module: nn.Module, probability: float) -> None:
    """The same probability for all dropout layers of ``module``."""
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = probability


class ClippedAvgPool3d(nn.Module):
    """The average over every window of a size, step 1; where the input is smaller, over all there is.

    It has no weights, so it can stand in for a published network's pool: the same on all inputs that such a network
    takes, and an answer on smaller ones.

    Args:
        kernel_size: (T, H, W) of the window; None for the whole length.
    """

    def __init__(self, kernel_size: tuple[int | None, int, int]):
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, features: Tensor) -> Tensor:
        """float (B, C, T, H, W) → (B, C, T', H', W')"""
        sizes = features.shape[2:]
        kernel = [
            size if wanted is None else min(size, wanted) for size, wanted in zip(sizes, self.kernel_size, strict=True)
        ]
        return functional.avg_pool3d(features, kernel, stride=1)


def _like(layer: Layer, inputs: int, outputs: int) -> Layer:
    """A layer of the same kind: linear, or a convolution of size 1. Weights as in pytorchvideo's heads."""
    if isinstance(layer, nn.Linear):
        made: Layer = nn.Linear(inputs, outputs)
    else:
        made = type(layer)(inputs, outputs, kernel_size=1)
    nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
    if made.bias is not None:
        torch.nn.init.zeros_(made.bias)
    return made


def _inputs(layer: Layer) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _outputs(layer: Layer) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
