"""Weights to start from: published ones by address, files of the same layout anywhere, checkpoints of vidclf.

What comes over a network is kept: in ``$VIDCLF_WEIGHTS`` where that is a local folder, else where torch.hub keeps its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import torch
from torch import Tensor, nn

from vidclf.errors import ConfigError
from vidclf.models.positions import fit_positions

#: A folder or fsspec URI with published files under their own names: for machines without a way out.
WEIGHTS_VARIABLE = "VIDCLF_WEIGHTS"

#: Seconds without an answer after which a download is given up.
TIMEOUT = 60

#: The beginning of a file's SHA-256 at the end of its name, as torchvision publishes its files.
_HASH = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")

#: Files of a checkpoint's folder, see vidclf.models.checkpoint.
_CARD, _TENSORS = "model.json", "model.safetensors"


def load_backbone(model: nn.Module, origin: str | None, head: str) -> None:
    """Load everything but the head from ``origin``, exactly; None: nothing.

    Tables of learned positions are interpolated where ``model`` is for another size of input.

    Args:
        model: the network whose names the file uses.
        origin: a published address, a path or fsspec URI of such a file, or of a checkpoint's folder.
        head: path of the output layer, which stays as it is.

    Raises:
        ConfigError: the weights cannot be had, or are not this model's.
    """
    if origin is not None:
        load_state(model, fetch(origin), origin, head)


def load_state(model: nn.Module, state: Mapping[str, Tensor], origin: str, head: str) -> None:
    """The same from tensors by name.

    Raises:
        ConfigError: one is missing, is of another shape, or is not the model's.
    """
    kept = renamed(state, {name: name for name in state if not name.startswith(f"{head}.")})
    try:
        kept.update(fit_positions(model, kept))
        missing, unexpected = model.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        first = [line.strip() for line in str(error).splitlines()[1:2]] or [str(error)]
        raise ConfigError(f"weights {origin} do not fit the model: {first[0][:200]}") from error
    missing = [name for name in missing if not name.startswith(f"{head}.")]
    if missing or unexpected:
        what = f"{missing[0]} is missing" if missing else f"the model has no {unexpected[0]}"
        raise ConfigError(f"weights {origin} do not fit the model: {what}")


def renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Some of the tensors under other names, old → new, with the versions of layers that torch keeps beside them."""
    chosen: OrderedDict[str, Tensor] = OrderedDict((new, state[old]) for old, new in names.items())
    if hasattr(state, "_metadata"):
        chosen._metadata = state._metadata  # type: ignore[attr-defined]
    return chosen


def fetch(origin: str) -> dict[str, Tensor]:
    """The tensors of a file, by name, on the CPU.

    The layouts that are known: ``{"model_state": tensors}`` (pytorchvideo), ``{"state_dict": tensors}``, the tensors
    alone (torchvision), safetensors. Only tensors and plain values are unpickled, never code.

    Raises:
        ConfigError: it cannot be had or is not such a file.
    """
    try:
        content = _read(_local(origin))
    except Exception as error:  # network, disk, S3 and pickle share no base
        cause = str(getattr(error, "reason", None) or error or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"weights {origin} cannot be had: {cause}; weights=none works, or put the file into a folder"
            f" and set {WEIGHTS_VARIABLE} to it"
        ) from error
    for key in ("model_state", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ConfigError(f"weights {origin} hold no 'model_state', no 'state_dict' and are not tensors by name")
    return renamed(content, {name: name for name in content})


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    with _numpy_scalars():
        return torch.load(path, map_location="cpu", weights_only=True)


def _local(origin: str) -> Path:
    """A local file with what is at ``origin``; fetched where it has to be."""
    name = origin.rstrip("/").rsplit("/", 1)[-1]
    folder = os.environ.get(WEIGHTS_VARIABLE, "").rstrip("/")
    if origin.startswith(("http://", "https://")):
        if folder and _exists(f"{folder}/{name}"):
            return _local_copy(f"{folder}/{name}")
        return _downloaded(origin, _cache() / name)
    if _exists(f"{origin.rstrip('/')}/{_CARD}"):
        return _local_copy(f"{origin.rstrip('/')}/{_TENSORS}")
    return _local_copy(origin)


def _cache() -> Path:
    """Where downloads are kept."""
    folder = os.environ.get(WEIGHTS_VARIABLE, "")
    if folder and _is_local(folder):
        return Path(_stripped(folder))
    return Path(torch.hub.get_dir()) / "checkpoints"


def _downloaded(url: str, path: Path) -> Path:
    if not path.exists():
        with _whole(path) as temporary:
            _download(url, temporary)
    return path


def _download(url: str, path: Path) -> None:
    """Raises OSError where what came is not what was announced, by its length or the hash in torchvision's names."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
            announced = answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        raise OSError(f"HTTP {error.code}") from error
    size = path.stat().st_size
    if announced is not None and int(announced) != size:
        raise OSError(f"the connection broke after {size} of {announced} bytes")
    named = _HASH.search(url)
    if named:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(named.group(1)):
            raise OSError(f"its SHA-256 is {found[:8]}…, not the {named.group(1)} in its name")


def _local_copy(uri: str) -> Path:
    """The file itself where it is local; else a copy, made once for each version of it."""
    if _is_local(uri):
        return Path(_stripped(uri))
    filesystem, remote = fsspec.core.url_to_fs(uri)
    version = hashlib.sha256(f"{uri} {filesystem.ukey(remote)}".encode()).hexdigest()[:16]
    path = _cache() / f"{version}-{remote.rsplit('/', 1)[-1]}"
    if not path.exists():
        with _whole(path) as temporary:
            filesystem.get_file(remote, str(temporary))
    return path


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; it becomes ``path`` at the end, whole, or goes away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".partial")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _exists(uri: str) -> bool:
    filesystem, path = fsspec.core.url_to_fs(uri)
    return bool(filesystem.exists(path))


def _is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith("file://")


def _stripped(uri: str) -> str:
    _, path = fsspec.core.url_to_fs(uri)
    return str(path)


def _numpy_scalars() -> Any:
    """Let optimiser states through that hold a learning rate as a NumPy number, under NumPy's old and new names."""
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [scalar, np.dtype, type(np.dtype("float64")), type(np.dtype("float32"))]
    allowed += [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]
    return torch.serialization.safe_globals(allowed)
