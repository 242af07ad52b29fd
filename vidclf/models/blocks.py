"""A model as an ordered list of blocks, from input to head: what is frozen, unfrozen and decayed as one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from torch import nn

#: Name of a block and the paths of its modules and loose parameters, as ``named_modules`` and ``named_parameters`` write them.
Plan = Sequence[tuple[str, Sequence[str]]]

HEAD = "head"
_ATTRIBUTE = "block_plan"


class Block(nn.Module):
    """Several modules and loose parameters of a model, under one name. It is never called."""

    def __init__(self, parts: Sequence[nn.Module | nn.Parameter]):
        super().__init__()
        self.modules_of_block = nn.ModuleList([part for part in parts if isinstance(part, nn.Module)])
        self.loose = nn.ParameterList([part for part in parts if isinstance(part, nn.Parameter)])


def declare(model: nn.Module, plan: Plan) -> nn.Module:
    """Say which blocks ``model`` has; every builder does this last.

    Raises:
        ValueError: some parameter or buffer is in no block or in two, or the last block is not the head.
    """
    setattr(model, _ATTRIBUTE, tuple((name, tuple(paths)) for name, paths in plan))
    if plan[-1][0] != HEAD:
        raise ValueError(f"the last block is {plan[-1][0]!r}, not {HEAD!r}")
    tensors = [tensor for _, block in blocks(model) for tensor in chain(block.parameters(), block.buffers())]
    found = [id(tensor) for tensor in tensors]
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if found.count(id(tensor)) != 1:
            raise ValueError(f"{name} of {type(model).__name__} is in {found.count(id(tensor))} blocks")
    return model


def blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Name and module of each block, from the input to ``("head", …)``.

    Every parameter and buffer of the model is in exactly one. For pytorchvideo's networks they are its own ``blocks``,
    with its own numbers; a block may then be without parameters (a pool).

    Args:
        model: built by ``vidclf.models.build``; unwrapped from DistributedDataParallel.

    Raises:
        TypeError: it is of another make.
    """
    plan: Plan | None = getattr(model, _ATTRIBUTE, None)
    if plan is None:
        raise TypeError(f"{type(model).__name__} has no blocks: it was not made by vidclf.models.build")
    return [(name, _block(model, paths)) for name, paths in plan]


def _block(model: nn.Module, paths: Sequence[str]) -> nn.Module:
    parts = [_part(model, path) for path in paths]
    return parts[0] if len(parts) == 1 and isinstance(parts[0], nn.Module) else Block(parts)


def _part(model: nn.Module, path: str) -> nn.Module | nn.Parameter:
    parent, _, name = path.rpartition(".")
    part: nn.Module | nn.Parameter = getattr(model.get_submodule(parent), name)
    return part
