"""X3D as pytorchvideo builds it for the CPUs of phones; weights of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidclf.models import Accuracy, BuildRequest, Cost, ModelDefaults, register
from vidclf.models.families._pytorchvideo import accuracy, import_hub, kinetics, views

if TYPE_CHECKING:
    from torch import nn

STAGES = ("s1", "s2", "s3", "s4", "s5")


def _efficient_x3d(size: str, summary: str, defaults: ModelDefaults, published: Accuracy, cost: Cost) -> None:
    @register(
        f"efficient_x3d_{size}",
        family="efficient_x3d",
        summary=summary,
        defaults=defaults,
        published=kinetics(f"efficient_x3d_{size}_original_form.pyth"),
        accuracy=published,
        cost=cost,
    )
    def build(request: BuildRequest) -> nn.Module:
        """Any number of frames."""
        return _build(request, size)


def _build(request: BuildRequest, size: str) -> nn.Module:
    from vidclf.models.blocks import HEAD, declare
    from vidclf.models.heads import extend_head
    from vidclf.models.weights import load_backbone

    hub = import_hub()
    network: Any = getattr(hub, f"efficient_x3d_{size}")(num_classes=request.num_classes, dropout=request.dropout)
    if request.narrow:
        for stage in STAGES[1:]:
            setattr(network, stage, getattr(network, stage)[:1])
    _replace_swish(network)
    output = "projection.model"
    load_backbone(network, request.origin, output)
    extend_head(network, output, request.head_hidden, request.dropout)
    return declare(network, [*((stage, [stage]) for stage in STAGES), (HEAD, ["head", "projection"])])


def _replace_swish(network: nn.Module) -> None:
    """By torch's own SiLU, which is the same function; the backward of pytorchvideo's is deprecated by torch."""
    from pytorchvideo.layers.swish import Swish
    from torch import nn

    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, Swish):
                setattr(module, name, nn.SiLU())


_efficient_x3d(
    "xs",
    "X3D-XS, written for the CPUs of phones",
    views(4, 12, 182, 160),
    accuracy(68.5, 88.0, "10 views"),
    Cost(3_794_322, 0.61),
)
_efficient_x3d(
    "s",
    "X3D-S, written for the CPUs of phones",
    views(13, 6, 182, 160),
    accuracy(73.0, 90.6, "10 views"),
    Cost(3_794_322, 1.96),
)
