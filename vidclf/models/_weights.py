"""Published weights: from the network, then from torch's cache; or from the folder ``$VIDCLF_WEIGHTS``."""

from __future__ import annotations

import os
import urllib.error
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import torch

from vidclf.errors import ConfigError

#: A folder or fsspec URI that holds the published files under their own names: for machines without a way out.
WEIGHTS_VARIABLE = "VIDCLF_WEIGHTS"


def fetch(url: str) -> Any:
    """What the published file at ``url`` contains, tensors on the CPU.

    Only tensors and plain values are unpickled, never code.

    Raises:
        ConfigError: it cannot be had or is not such a file.
    """
    name = url.rsplit("/", 1)[-1]
    folder = os.environ.get(WEIGHTS_VARIABLE)
    origin = f"{folder.rstrip('/')}/{name}" if folder else url
    try:
        with fsspec.open(origin if folder else str(_cached(url, name)), "rb") as file, _numpy_scalars():
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # network, disk, S3 and pickle share no base
        cause = str(getattr(error, "reason", None) or error or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"weights {origin} cannot be had: {cause}; weights=none works, or put the file into a folder"
            f" and set {WEIGHTS_VARIABLE} to it"
        ) from error


def load_into(model: torch.nn.Module, state: dict[str, torch.Tensor], origin: str) -> None:
    """Load ``state``, all of it.

    Raises:
        ConfigError: the tensors are not this model's.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = [line.strip() for line in str(error).splitlines()[1:2]] or [str(error)]
        raise ConfigError(f"weights {origin} do not fit the model: {first[0][:200]}") from error


def _cached(url: str, name: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / name  # where torch.hub itself keeps them
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except urllib.error.HTTPError as error:
            raise OSError(f"HTTP {error.code}") from error
    return path


def _numpy_scalars() -> Any:
    """Let optimiser states through that hold a learning rate as a NumPy number, under NumPy's old and new names."""
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [scalar, np.dtype, type(np.dtype("float64")), type(np.dtype("float32"))]
    allowed += [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]
    return torch.serialization.safe_globals(allowed)
