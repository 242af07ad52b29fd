"""Putting a model on a network for pictures: its weights, its head, its blocks."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from vidclf.models.blocks import HEAD, declare
from vidclf.models.families import _backbones
from vidclf.models.heads import extend_head
from vidclf.models.spec import BuildRequest
from vidclf.models.weights import fetch, load_state


def assemble(request: BuildRequest, make: Callable[[nn.Module, int], nn.Module], *readers: str) -> nn.Module:
    """A model with ``backbone``, ``readers`` in order, and ``head``.

    Args:
        request: its ``origin`` may be ImageNet weights or a file of the backbone, or one of the whole model, which is
            told from the names in it.
        make: from the backbone and the number of its features.
        readers: names of the modules between backbone and head.
    """
    origin = request.origin
    if origin is not None and origin.startswith(_backbones.SCHEME):
        origin = _backbones.published_address(request.backbone)
    state = fetch(origin) if origin is not None else {}
    whole = any(name.startswith("backbone.") for name in state)
    backbone, features = _backbones.build(request.backbone, request.crop_size, {} if whole else state, str(origin))
    model = make(backbone, features)
    if whole:
        load_state(model, state, str(origin), HEAD)
    extend_head(model, HEAD, request.head_hidden, request.dropout)
    plan = [*_backbones.plan(backbone, "backbone."), *((name, [name]) for name in readers), (HEAD, [HEAD])]
    return declare(model, plan)
