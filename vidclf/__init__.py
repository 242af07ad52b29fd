"""Video classifiers from annotation lists.

vidclf.finetune("videos", model="x3d_xs", epochs=5).predict(["a.mp4"])
vidclf.load("models/x3d_xs-0123456789ab").predict(["a.mp4"])
vidclf.load("models:/dancing@champion").predict(["a.mp4", "folder", "s3://bucket/*.mp4"], start_time=3, duration=10)
vidclf.available_models()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidclf.finetuning import finetune
    from vidclf.models import available_models
    from vidclf.predict import load

__version__ = "0.1.0"
__all__ = ["__version__", "available_models", "finetune", "load"]

_HOMES = {"finetune": "vidclf.finetuning", "available_models": "vidclf.models", "load": "vidclf.predict"}


def __getattr__(name: str) -> Any:
    """The public functions, imported when they are first asked for: torch takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vidclf' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
