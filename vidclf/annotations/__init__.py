"""Annotation lists. One file per layout; ``read_annotations`` looks at the path and takes the one that fits.

A layout is a module with ``fits(store, name) -> bool`` and ``read(store, name) -> list[Annotation]``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from types import ModuleType

from vidclf.clips import Annotation
from vidclf.config import AnnotationsConfig
from vidclf.errors import AnnotationError
from vidclf.storage import Store

#: What annotation files call their splits → what they are called here.
SPLITS = {"train": "train", "training": "train", "val": "val", "validate": "val", "validation": "val", "valid": "val",
          "test": "test", "testing": "test"}  # fmt: skip


def read_annotations(config: AnnotationsConfig) -> list[Annotation]:
    """Read the list and keep what the configuration asks for, in the file's order.

    Rows that make no sense are kept, with their ``problem``: they become failed rows of the manifest.

    Raises:
        AnnotationError: there is no such list, it is in no known layout, or nothing is left of it.
    """
    folder, _, name = config.path.rstrip("/").rpartition("/")
    store = Store(folder or ("/" if config.path.startswith("/") else "."))
    if not store.exists(name):
        raise AnnotationError(f"annotations {config.path}: there is no such file or folder")
    layouts = _layouts()
    fitting = next((layout for layout in layouts if layout.fits(store, name)), None)
    if fitting is None:
        known = "; ".join((layout.__doc__ or layout.__name__).splitlines()[0].rstrip(".") for layout in layouts)
        raise AnnotationError(f"annotations {config.path}: in no known layout ({known})")
    return select(fitting.read(store, name), config)


def select(annotations: Sequence[Annotation], config: AnnotationsConfig) -> list[Annotation]:
    """Keep the labels asked for, and at most ``limit`` annotations.

    Raises:
        AnnotationError: no annotation has such a label.
    """
    kept = [annotation for annotation in annotations if _is_wanted(annotation, config)]
    if not kept:
        labels = sorted({annotation.label for annotation in annotations if annotation.label})
        shown = ", ".join(labels[:8]) + (", …" if len(labels) > 8 else "")
        raise AnnotationError(
            f"annotations {config.path}: no row has a label that was asked for; there are: {shown or 'none'}"
        )
    return kept[: config.limit]


def _is_wanted(annotation: Annotation, config: AnnotationsConfig) -> bool:
    if config.labels is None and config.label_contains is None:
        return True
    if annotation.label is None:
        return False
    listed = config.labels is not None and annotation.label in config.labels
    contains = config.label_contains is not None and config.label_contains in annotation.label
    return listed or contains


def _layouts() -> list[ModuleType]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}") for name in names]
