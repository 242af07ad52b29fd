"""Labels for videos, from a checkpoint and nothing else. Nothing heavy is imported before it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidclf.predict.answers import Prediction
    from vidclf.predict.classifier import Classifier, load

__all__ = ["Classifier", "Prediction", "load"]

_HOMES = {
    "Classifier": "vidclf.predict.classifier",
    "Prediction": "vidclf.predict.answers",
    "load": "vidclf.predict.classifier",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vidclf.predict' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
