"""What is frozen does not change by a bit; what is unfrozen does."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.vidclf.test_models_zoo import CLASSES, ONE_OF_EACH_FAMILY, narrow, still_videos
from vidclf.errors import ConfigError
from vidclf.models.blocks import blocks
from vidclf.models.freezing import freeze_below, frozen_blocks, set_training_mode


def tensors(modules: list[nn.Module]) -> list[Tensor]:
    """Copies of all parameters and buffers."""
    return [tensor.detach().clone() for module in modules for tensor in chain(module.parameters(), module.buffers())]


def changed(before: list[Tensor], modules: list[nn.Module]) -> list[bool]:
    return [not torch.equal(old, new) for old, new in zip(before, tensors(modules), strict=True)]


def step(model: nn.Module, videos: Tensor, optimizer: torch.optim.Optimizer) -> None:
    set_training_mode(model)
    optimizer.zero_grad()
    cross_entropy(model(videos), torch.arange(len(videos)) % CLASSES).backward()
    optimizer.step()


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    """With momentum and decay, which also move what gets no new gradient, if they are let near it."""
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_frozen_weights_and_statistics_stay_to_the_bit_and_change_after_unfreezing(name: str) -> None:
    torch.manual_seed(0)
    model, videos = narrow(name), still_videos(name, 2) + 1.0
    optimizer = adamw(model)
    modules = [module for _, module in blocks(model)]
    step(model, videos, optimizer)
    for boundary in (len(modules) - 1, len(modules) // 2, 0):
        below, above = modules[:boundary], modules[boundary:]
        freeze_below(model, boundary)
        before_below, before_above = tensors(below), tensors(above)
        step(model, videos, optimizer)
        assert not any(changed(before_below, below))
        assert sum(changed(before_above, above)) > 0.9 * len(before_above)  # all but some biases of attention
        layers = [layer for module in below for layer in module.modules() if list(layer.parameters(recurse=False))]
        assert not any(layer.training for layer in layers if not isinstance(layer, nn.ParameterList))
        assert model.training
    assert frozen_blocks(model) == []


@pytest.mark.parametrize("name", ["x3d_xs", "cnn_lstm", "swin3d_t"])
def test_only_what_is_above_the_boundary_gets_gradients(name: str) -> None:
    model = narrow(name)
    known = blocks(model)
    step(model, still_videos(name), adamw(model))  # leaves gradients everywhere
    freeze_below(model, 3)
    assert [block for block, _ in frozen_blocks(model)] == [block for block, _ in known[:3]]
    for number, (_, module) in enumerate(known):
        assert all(parameter.requires_grad == (number >= 3) for parameter in module.parameters())
        assert number >= 3 or all(parameter.grad is None for parameter in module.parameters())


def test_statistics_of_batchnorm_change_where_nothing_is_frozen() -> None:
    model = narrow("x3d_xs")
    means = [buffer for name, buffer in model.named_buffers() if name.endswith("running_mean")]
    before = [mean.clone() for mean in means]
    set_training_mode(model)
    with torch.no_grad():
        model(still_videos("x3d_xs"))
    assert not any(torch.equal(old, new) for old, new in zip(before, means, strict=True))


def test_a_boundary_that_does_not_exist_is_refused_with_the_blocks_that_do() -> None:
    model = narrow("x3d_xs")
    for wrong in (-1, 6):
        with pytest.raises(
            ConfigError, match=r"block -?\d: allowed are 0 to 5; the blocks: 0 block0, .* 5 head"
        ) as error:
            freeze_below(model, wrong)
        assert "\n" not in str(error.value)


def test_a_network_of_another_make_has_no_blocks() -> None:
    with pytest.raises(TypeError, match=r"not made by vidclf\.models\.build"):
        blocks(nn.Linear(1, 1))
