"""What every model of the zoo does, with few channels; the full ones in the slow tests."""

from __future__ import annotations

import copy
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vidclf.models import available_models, build, require
from vidclf.models.blocks import blocks

NAMES = [spec.name for spec in available_models()]
CLASSES = 3
MOST_STEPS = 100
ONE_OF_EACH_FAMILY = sorted({spec.family: spec.name for spec in available_models()}.values())
#: Networks that leave one pixel of 32 get more: statistics over single pixels teach nothing.
CROPS = {
    "s3d": 64,
    "efficient_x3d_s": 96,
    "efficient_x3d_xs": 96,
    "cnn_lstm": 48,
    "cnn_gru": 48,
    "cnn_attention": 48,
    "frame_cnn": 48,
}


def smallest_view(name: str) -> tuple[int, int]:
    """Frames and pixels."""
    limits = require(name).limits
    return limits.min_frames, CROPS.get(name, limits.min_crop)


@cache
def _narrow(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(name, CLASSES, *smallest_view(name), dropout=0.0, narrow=True)


def narrow(name: str) -> nn.Module:
    """A model of its own for every test."""
    return copy.deepcopy(_narrow(name))


def still_videos(name: str, number: int = 3) -> Tensor:
    """float (B, C, T, H, W) that do not move, so that networks on single frames have them whole."""
    frames, pixels = smallest_view(name)
    return torch.randn(number, 3, 1, pixels, pixels).expand(-1, -1, frames, -1, -1).contiguous()


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_allowed_view_becomes_one_number_per_class_in_training_and_evaluation(name: str) -> None:
    limits = require(name).limits
    model = build(name, CLASSES, limits.min_frames, limits.min_crop, narrow=True)
    videos = torch.randn(2, 3, limits.min_frames, limits.min_crop, limits.min_crop)
    for mode in (model.train(), model.eval()):
        logits = mode(videos)
        assert logits.shape == (2, CLASSES)
        assert logits.isfinite().all()


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_three_steps_lower_the_evaluation_loss_on_their_batch(name: str) -> None:
    torch.manual_seed(1)
    three_steps_lower_the_loss(narrow(name), still_videos(name))


def three_steps_lower_the_loss(model: nn.Module, videos: Tensor) -> None:
    labels = torch.tensor([0, 1, 2])
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            layer.momentum = 1.0  # three steps are too few for a running average
    model.train()
    with torch.no_grad():
        model(videos)
    before = evaluation_loss(model, videos, labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(videos), labels).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
    assert evaluation_loss(model, videos, labels) < before


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_eight_clips_are_learnt_by_heart(name: str) -> None:
    torch.manual_seed(2)
    model, videos, labels = narrow(name), still_videos(name, 8), torch.arange(8) % CLASSES
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            layer.momentum = 1.0  # the last batch is all there is
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(MOST_STEPS):
        optimizer.zero_grad()
        cross_entropy(model.train()(videos), labels).backward()
        optimizer.step()
        with torch.no_grad():
            model(videos)  # the statistics of the new weights
            if torch.equal(model.eval()(videos).argmax(dim=1), labels):
                return
    pytest.fail(f"after {MOST_STEPS} steps it still confuses some of its eight clips")


@torch.no_grad()
def evaluation_loss(model: nn.Module, videos: Tensor, labels: Tensor) -> float:
    return float(cross_entropy(model.eval()(videos), labels))


@pytest.mark.parametrize("name", [*NAMES, "cnn_lstm-resnet50", "frame_cnn-vit_b_32", "cnn_gru-mnasnet0_5"])
def test_every_parameter_and_buffer_is_in_exactly_one_block_and_the_head_is_the_last(name: str) -> None:
    model = build(name, 7, crop_size=32, narrow=True)
    known = blocks(model)
    names = [block for block, _ in known]
    assert names[-1] == "head"
    assert len(set(names)) == len(names) >= 5
    tensors = Counter(id(tensor) for _, block in known for tensor in chain(block.parameters(), block.buffers()))
    assert tensors == Counter(id(tensor) for tensor in chain(model.parameters(), model.buffers()))
    assert any(7 in parameter.shape for parameter in known[-1][1].parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_the_weights_gives_the_same_model_to_the_bit(name: str, tmp_path: Path) -> None:
    other = build(name, CLASSES, *smallest_view(name), narrow=True)
    a_file_gives_the_same_model(narrow(name), other, still_videos(name, 2), tmp_path / "model.safetensors")


def a_file_gives_the_same_model(model: nn.Module, other: nn.Module, videos: Tensor, path: Path) -> None:
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, path)
    other.load_state_dict(load_file(path))
    state, loaded = model.state_dict(), other.state_dict()
    assert state.keys() == loaded.keys()
    assert all(torch.equal(state[key], loaded[key]) for key in state)
    with torch.inference_mode():
        assert torch.equal(model.eval()(videos), other.eval()(videos))


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_a_hidden_layer_comes_before_the_output(name: str) -> None:
    model = build(name, CLASSES, *smallest_view(name), head_hidden=11, dropout=0.5, narrow=True)
    head = blocks(model)[-1][1]
    assert sum(11 in parameter.shape for parameter in head.parameters()) >= 3  # in, its bias, out
    with torch.inference_mode():
        assert model.eval()(still_videos(name, 2)).shape == (2, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_full_model_takes_its_own_view_and_learns(name: str, tmp_path: Path) -> None:
    own = require(name).defaults
    torch.manual_seed(0)
    video = torch.randn(1, 3, own.num_frames, own.crop_size, own.crop_size)
    with torch.inference_mode():
        logits = build(name, CLASSES, dropout=0.0).eval()(video)
    assert logits.shape == (1, CLASSES)
    assert logits.isfinite().all()
    model, other = (build(name, CLASSES, *smallest_view(name), dropout=0.0) for _ in range(2))
    videos = still_videos(name)
    three_steps_lower_the_loss(model, videos)
    a_file_gives_the_same_model(model, other, videos, tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()  # hundreds of megabytes
