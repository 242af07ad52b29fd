"""A checkpoint is a folder that describes itself: ``model.safetensors`` and ``model.json``, which is written last."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from vidclf import __version__
from vidclf.config import Frozen, parse
from vidclf.data.view import View
from vidclf.errors import ConfigError
from vidclf.models import build
from vidclf.storage import Store

if TYPE_CHECKING:
    from torch import nn

SCHEMA_VERSION = 1  # what this code writes and reads
TENSORS = "model.safetensors"
CARD = "model.json"


class ModelCard(Frozen):
    """What must be known to use the weights: ``predict`` needs nothing else."""

    schema_version: Literal[1] = 1
    model: str = Field(description="architecture, as `vidclf models` lists it")
    classes: tuple[str, ...] = Field(min_length=1, description="in the order of the model's outputs")
    view: View = Field(description="sampling, transform and normalisation")
    head_hidden: int | None = Field(None, description="width of a hidden layer before the last one; None: none")
    weights: str = Field(description="what the backbone started from: none, imagenet, kinetics400, or an address")
    snapshot_id: str = Field(description="the data that it was trained on")
    train_config: dict[str, Any] = Field(description="the training's whole configuration")
    results: dict[str, float] = Field(default_factory=dict, description="of the training's last epoch, for people")
    created_by: str = f"vidclf {__version__}"


def save(store: Store, path: str, model: nn.Module, card: ModelCard) -> None:
    """Write a checkpoint to the folder ``path`` of ``store``; it exists once its card does."""
    from safetensors.torch import save as serialise

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    store.write_bytes(f"{path}/{TENSORS}", serialise(tensors))
    store.write_json(f"{path}/{CARD}", card.model_dump(mode="json"))


def exists(store: Store, path: str) -> bool:
    """Whether a finished checkpoint is there."""
    return store.exists(f"{path}/{CARD}")


def read_card(uri: str | os.PathLike[str]) -> ModelCard:
    """The description alone, without loading torch.

    Args:
        uri: as for ``load``.

    Raises:
        ConfigError: there is no finished checkpoint, or it is of another schema version.
    """
    store = Store(located(uri))
    if not store.exists(CARD):
        raise ConfigError(f"{store.uri} is no finished checkpoint: it has no {CARD}")
    try:
        content = store.read_json(CARD)
    except ValueError as error:
        raise ConfigError(f"{store.uri}/{CARD} is not JSON: {error}") from None
    found = content.get("schema_version") if isinstance(content, dict) else None
    if found != SCHEMA_VERSION:
        raise ConfigError(f"{store.uri} is a checkpoint of schema version {found}; this vidclf reads {SCHEMA_VERSION}")
    return parse(ModelCard, content, f"{store.uri}/{CARD}")


def located(model: str | os.PathLike[str]) -> str:
    """Where the checkpoint of a model lies, however it is named: a folder's path or URI as it is, or, of
    ``models:/NAME@ALIAS`` and ``models:/NAME/VERSION``, a local folder with what MLflow's registry has.

    Raises:
        ConfigError: the registry has no such model.
        TrackingError: MLflow does not answer.
    """
    name = os.fspath(model)
    if not name.startswith("models:/"):
        return name
    from vidclf.tracking.registry import local_checkpoint  # MLflow takes seconds

    return str(local_checkpoint(name))


def load(uri: str | os.PathLike[str]) -> tuple[nn.Module, ModelCard]:
    """The model, in eval mode on the CPU, and its card.

    Args:
        uri: the checkpoint's folder, a path or any fsspec URI; or ``models:/NAME@ALIAS`` of MLflow's registry.

    Raises:
        ConfigError: it is not there, not finished, of another version, or its tensors are not this model's.
        StorageError: it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as deserialise

    uri = located(uri)
    card = read_card(uri)
    view = card.view
    model = build(
        card.model, len(card.classes), view.num_frames, view.crop_size, dropout=0.0, head_hidden=card.head_hidden
    )
    try:
        model.load_state_dict(deserialise(Store(uri).read_bytes(TENSORS)))
    except (SafetensorError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"{Store(uri).uri}/{TENSORS} does not hold this model's weights: {first}") from error
    return model.eval(), card
