"""A trained model as one file for programs that know nothing of vidclf: ONNX, or ``torch.export``'s own form."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vidclf.data.transforms import normalise
from vidclf.data.view import View
from vidclf.errors import ConfigError, VidclfError
from vidclf.models import checkpoint
from vidclf.models.checkpoint import ModelCard

Form = Literal["onnx", "torch-export"]

SUFFIXES: dict[Form, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
#: What writing and checking ONNX takes; the extra ``vidclf[onnx]`` brings it.
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
#: Where a file says what it is: a metadata property in ONNX, an extra file in a .pt2.
ABOUT = "vidclf.json"
TOLERANCE = 1e-4  # of a probability, between the model and what its file answers


class ExportError(VidclfError):
    """The model cannot be written in this form, or its file answers something else."""

    kind = "export"


@dataclass(frozen=True)
class Exported:
    """What was written."""

    model: str  # architecture
    input: str  # its shape, in words
    difference: float  # of any probability, at most, between the model and the file


class Probabilities(nn.Module):
    """Views as pictures are, RGB from 0 to 1, in; probabilities out: normalisation and softmax are inside."""

    def __init__(self, model: nn.Module, view: View):
        super().__init__()
        self.model, self._view = model, view

    def forward(self, videos: Tensor) -> Tensor:
        """float (B, 3, T, H, W) → float (B, num_classes)."""
        logits: Tensor = self.model(normalise(videos * 255, self._view))
        return logits.softmax(dim=1)


def export_checkpoint(model: str, form: Form, output: Path) -> Exported:
    """Write a checkpoint as one file, and prove by reading it that it answers what the model answers.

    Args:
        model: the checkpoint's folder or URI, or ``models:/NAME@ALIAS``.
        output: a local path, ending in ``SUFFIXES[form]``; appears when it is checked.

    Raises:
        ConfigError: there is no such model, the name does not fit, or packages are missing.
        ExportError: see there.
    """
    if output.suffix != SUFFIXES[form]:
        raise ConfigError(f"--output {output}: {form} is written to a file that ends in {SUFFIXES[form]}")
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None] if form == "onnx" else []
    if missing:
        raise ConfigError(f"--to onnx needs {', '.join(missing)}: pip install 'vidclf[onnx]'")
    found, card = checkpoint.load(model)
    return export_model(found, card, form, output)


def export_model(model: nn.Module, card: ModelCard, form: Form, output: Path) -> Exported:
    """The same for a model in memory; the number of views in a batch stays free.

    Raises:
        ConfigError: the file cannot be written.
        ExportError: see there.
    """
    whole = Probabilities(model, card.view).eval()
    part = output.with_name(f".{output.stem}.part{output.suffix}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with _quiet():
            _WRITERS[form](whole, _views(card.view, 2), about(card), part)
            difference = _difference(whole, card.view, _READERS[form](part))
        if not difference < TOLERANCE:
            raise ExportError(f"what was written of {card.model} answers {difference:.1e} beside the model")
        os.replace(part, output)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}") from None
    except (torch.onnx.errors.OnnxExporterError, torch._dynamo.exc.TorchDynamoException) as error:
        raise ExportError(f"{card.model} cannot be written as {form}: {str(error).strip().splitlines()[0]}") from error
    finally:
        part.unlink(missing_ok=True)
    shape = f"float (B, 3, {card.view.num_frames}, {card.view.crop_size}, {card.view.crop_size})"
    return Exported(card.model, shape, difference)


def about(card: ModelCard) -> str:
    """What a program must know to use the file, as JSON."""
    view = card.view
    shape = ["batch", 3, view.num_frames, view.crop_size, view.crop_size]
    described = {
        "input": {"name": "videos", "shape": shape, "type": "float32", "values": "RGB, 0 to 1, not normalised"},
        "output": {"name": "probabilities", "shape": ["batch", len(card.classes)], "classes": list(card.classes)},
        "card": card.model_dump(mode="json"),
    }
    return json.dumps(described, ensure_ascii=False)


def _views(view: View, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.rand(count, 3, view.num_frames, view.crop_size, view.crop_size, generator=generator)


def _write_torch_export(model: nn.Module, example: Tensor, about: str, to: Path) -> None:
    torch.export.save(_traced(model, example), to, extra_files={ABOUT: about})


def _write_onnx(model: nn.Module, example: Tensor, about: str, to: Path) -> None:
    program = torch.onnx.export(
        _traced(model, example),
        (),
        dynamo=True,
        input_names=["videos"],
        output_names=["probabilities"],
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props[ABOUT] = about
    program.save(str(to), external_data=False)


def _traced(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


def _read_torch_export(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    module = torch.export.load(path).module()
    return lambda videos: np.asarray(module(torch.from_numpy(videos)))


def _read_onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda videos: np.asarray(session.run(["probabilities"], {"videos": videos})[0])


_WRITERS: dict[Form, Callable[[nn.Module, Tensor, str, Path], None]] = {
    "torch-export": _write_torch_export,
    "onnx": _write_onnx,
}
_READERS: dict[Form, Callable[[Path], Callable[[np.ndarray], np.ndarray]]] = {
    "torch-export": _read_torch_export,
    "onnx": _read_onnx,
}


@torch.no_grad()
def _difference(model: nn.Module, view: View, file: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest one, on random views, of another number at a time than the file was made with too."""
    found = 0.0
    for count in (1, 3):
        views = _views(view, count)
        found = max(found, float(np.abs(file(views.numpy()) - model(views).numpy()).max()))
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of its own parts, as that one of them will be renamed."""
    loggers: list[Any] = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "torch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
