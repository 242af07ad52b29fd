"""All that a training needs to go on, as a folder that describes itself: ``state.safetensors`` and ``state.json``.

``TrainState`` is nested dictionaries and lists of tensors and plain values. Nothing is pickled: the tensors go into the
first file, the rest with their names into the second, which is written last. A state without it does not exist.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from vidclf.errors import ConfigError
from vidclf.storage import Store

TrainState = dict[str, Any]

SCHEMA_VERSION = 1
TENSORS = "state.safetensors"
STATE = "state.json"
KEPT = 2  # states of one training, so that there is always a whole one
_TENSOR, _NUMBERED = "$tensor", "$numbered"


class States:
    """The states of one training in a folder of a store, each in a folder of its own that is named by its step."""

    def __init__(self, store: Store, folder: str):
        self._store, self._folder = store, folder

    def save(self, step: int, state: TrainState) -> None:
        """Write a state, whole or not at all, and remove all but the last ``KEPT``."""
        from safetensors.torch import save as serialise

        tensors: dict[str, Tensor] = {}
        tree = _without_tensors(state, "", tensors)
        folder = f"{self._folder}/step-{step:09d}"
        self._store.write_bytes(f"{folder}/{TENSORS}", serialise(tensors))
        described = {
            "schema_version": SCHEMA_VERSION,
            "what": "state of a vidclf training",
            "step": step,
            "state": tree,
        }
        self._store.write_bytes(f"{folder}/{STATE}", json.dumps(described).encode())
        for old in self._finished()[:-KEPT]:
            self._store.delete(f"{old}/{STATE}")
            self._store.delete_folder(old)

    def latest(self) -> TrainState | None:
        """The last state that is whole; None: there is none.

        Raises:
            ConfigError: it is of another version of this code.
        """
        from safetensors.torch import load as deserialise

        folders = self._finished()
        if not folders:
            return None
        described = self._store.read_json(f"{folders[-1]}/{STATE}")
        if described["schema_version"] != SCHEMA_VERSION:
            raise ConfigError(
                f"{self._store.uri}/{folders[-1]} is a training's state of schema version {described['schema_version']};"
                f" this vidclf reads {SCHEMA_VERSION}: remove {self._store.uri}/{self._folder} to begin anew"
            )
        tensors = deserialise(self._store.read_bytes(f"{folders[-1]}/{TENSORS}"))
        state = _with_tensors(described["state"], tensors)
        assert isinstance(state, dict)
        return state

    def clear(self) -> None:
        """Remove all of them."""
        self._store.delete_folder(self._folder)

    def _finished(self) -> list[str]:
        """Folders with a whole state, by step."""
        paths = self._store.files_below(self._folder, STATE)
        return sorted(path.rpartition("/")[0] for path in paths)


def _without_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` as JSON can hold it, its tensors put into ``tensors`` under their paths."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {_TENSOR: path}
    if isinstance(value, dict):
        held = {str(key): _without_tensors(item, f"{path}/{key}".lstrip("/"), tensors) for key, item in value.items()}
        return {_NUMBERED: held} if value and all(isinstance(key, int) for key in value) else held
    if isinstance(value, (list, tuple)):
        return [_without_tensors(item, f"{path}/{number}", tensors) for number, item in enumerate(value)]
    return value


def _with_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _NUMBERED in value:
            return {int(key): _with_tensors(item, tensors) for key, item in value[_NUMBERED].items()}
        return {key: _with_tensors(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_tensors(item, tensors) for item in value]
    return value
