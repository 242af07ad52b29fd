"""torchvision's networks for pictures, as feature extractors."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vidclf.errors import ConfigError
from vidclf.models.spec import InputLimits

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vidclf.models.blocks import Plan

RESNET18 = "resnet18"

#: The smallest pictures and steps of size that networks take, where these are not 32 pixels and one.
_LIMITS = {
    "alexnet": InputLimits(min_crop=63),
    "inception_v3": InputLimits(min_crop=75),
    "maxvit_t": InputLimits(min_crop=224, crop_multiple_of=224),
    "vit_h_14": InputLimits(min_crop=28, crop_multiple_of=14),
    "vit_b_16": InputLimits(crop_multiple_of=16),
    "vit_l_16": InputLimits(crop_multiple_of=16),
    "vit_b_32": InputLimits(crop_multiple_of=32),
    "vit_l_32": InputLimits(crop_multiple_of=32),
}

#: torchvision.models.list_models(module=torchvision.models), so that a name can be checked without importing torch.
_NAMES = """
    alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169 densenet201
    efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6
    efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5
    mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf regnet_x_1_6gf
    regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf regnet_y_128gf regnet_y_16gf regnet_y_1_6gf
    regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34
    resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
    shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn
    vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2
    wide_resnet50_2
"""
NAMES = tuple(_NAMES.split())

#: Children that are only containers: their own children are the blocks.
_CONTAINERS = ("features", "encoder", "layers", "blocks", "trunk_output")

#: Outputs half-way of GoogLeNet and Inception, which only their training from scratch needs.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
#: DenseNet's files say norm.1 where its code says norm1.
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$")

#: A new network gets no weights from the network at build: this stands for the address that torchvision knows.
SCHEME = "torchvision:"


def limits(name: str) -> InputLimits:
    """The pictures that a network takes.

    Raises:
        ConfigError: there is no such network.
    """
    if name not in NAMES:
        raise ConfigError(f"backbone {name!r} is unknown; there are torchvision's: {', '.join(NAMES)}")
    if name.removeprefix("wide_").startswith(("resnet", "resnext")):
        return InputLimits(min_crop=16)
    return _LIMITS.get(name, InputLimits())


def origin(name: str) -> str:
    """What stands for its ImageNet weights until torchvision, which knows the address, is imported."""
    return f"{SCHEME}{name}"


def published_address(name: str) -> str:
    """Where torchvision publishes a network's ImageNet weights: its first ones, or its default."""
    import torchvision

    known: Any = torchvision.models.get_model_weights(name)
    chosen = known.__members__.get("IMAGENET1K_V1", known.DEFAULT)
    return str(chosen.url)


def build(name: str, crop_size: int, state: Mapping[str, Tensor], where: str) -> tuple[nn.Module, int]:
    """A network without its output layer, float (N, C, H, W) → (N, features), and the number of features.

    Args:
        name: torchvision's.
        crop_size: pixels of the square picture; some networks are made for one size.
        state: weights to start from; none: random ones.
        where: where they are from.

    Raises:
        ConfigError: the weights are not this network's.
    """
    import torch
    import torchvision
    from torch import nn

    from vidclf.models.heads import replace, set_dropout
    from vidclf.models.weights import load_state

    network: Any = torchvision.models.get_model(name, weights=None, **_options(name, crop_size))
    output, features = _output(network)
    if state:
        load_state(network, _as_built(state), where, output)
    replace(network, output, nn.Identity())
    set_dropout(network, 0.0)  # the model has its own, before its head
    if name.startswith("mnasnet"):  # its class wants a version beside its weights, which safetensors does not keep
        parts = {"layers": network.layers, "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(1)}
        network = nn.Sequential(OrderedDict(parts))
    network = network.to(memory_format=torch.channels_last)  # 1.3 times the speed on a CPU
    return network, features


def plan(network: nn.Module, prefix: str) -> Plan:
    """Blocks of a network for pictures: its children, with layers of normalisation beside what they normalise."""
    groups: list[tuple[str, list[str]]] = []
    loose: list[str] = []
    _collect(network, prefix, groups, loose)
    groups[0][1].extend(loose)
    return groups


def _collect(module: nn.Module, prefix: str, groups: list[tuple[str, list[str]]], loose: list[str]) -> None:
    loose.extend(prefix + name for name, _ in module.named_parameters(recurse=False))
    for name, child in module.named_children():
        path = prefix + name
        if name in _CONTAINERS:
            _collect(child, f"{path}.", groups, loose)
        elif groups and (_is_norm(child) or not any(True for _ in child.parameters())):
            groups[-1][1].append(path)
        else:
            groups.append((path, [path]))


def _is_norm(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm)


def _options(name: str, crop_size: int) -> dict[str, Any]:
    if name.startswith("vit_"):
        return {"image_size": crop_size}
    if name == "maxvit_t":
        return {"input_size": (crop_size, crop_size)}
    if name in ("googlenet", "inception_v3"):
        # their weights want pictures scaled in another way; with this they take the same ones as all others
        return {"aux_logits": False, "init_weights": False, "transform_input": True}
    return {}


def _as_built(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names that are not those of the network without its auxiliary outputs, as torchvision maps them itself."""
    from vidclf.models.weights import renamed

    names = {name: _DENSENET.sub(r"\1\2", name) for name in state if not name.startswith(_AUXILIARY)}
    return renamed(state, names)


def _output(network: nn.Module) -> tuple[str, int]:
    """Path of the output layer, the last one that has 1000 outputs, and the size of what goes into it."""
    from torch import nn

    for path, module in reversed(list(network.named_modules())):
        if isinstance(module, nn.Linear) and module.out_features == 1000:
            return path, module.in_features
        if isinstance(module, nn.Conv2d) and module.out_channels == 1000:  # SqueezeNet
            return path, module.in_channels
    raise TypeError(f"{type(network).__name__} has no layer of 1000 outputs")
