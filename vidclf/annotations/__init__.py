"""Annotation lists. One file per layout; ``read_annotations`` looks at the path and takes the one that fits.

A layout is a module of this package with ``fits(store, name) -> bool`` and ``read(store, name) -> pa.Table`` (schema
``vidclf.clips.ANNOTATIONS``, rows in the file's order); the first line of its docstring is how errors describe it. Further
arguments of ``read`` are fields of ``AnnotationsConfig``, named in ``OPTIONS``. With ``LAST_RESORT = True`` it is taken
only where no other fits. Modules that begin with ``_`` are no layouts.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType

import pyarrow as pa

from vidclf.annotations._checks import notices_about
from vidclf.annotations._files import head_of, is_folder, names_in
from vidclf.annotations._labels import merge_labels, select_labels
from vidclf.annotations._rows import notices_of, shown
from vidclf.annotations._splits import draw_splits, sample_clips
from vidclf.config import AnnotationsConfig
from vidclf.errors import AnnotationError, ConfigError
from vidclf.storage import Store, absolute_uri

__all__ = ["AnnotationList", "read_annotations", "require_list"]

#: Options that only some layouts take, and their value where nothing was asked for.
_LAYOUT_OPTIONS = {"split_number": 1}


@dataclass(frozen=True)
class AnnotationList:
    """The annotations that a configuration asks for."""

    rows: pa.Table  # vidclf.clips.ANNOTATIONS, in the list's order; every row has a split
    notices: tuple[str, ...]  # sentences for whoever starts the run: near misses, leaks, duplicates, conflicts
    in_all: int  # rows before the limit: a try with a few of them is to fit the dataset that it begins


def read_annotations(config: AnnotationsConfig) -> AnnotationList:
    """Read the list and keep what the configuration asks for, in the list's order.

    Rows that make no sense are kept, with their ``problem``: they become failed rows of the manifest.

    Raises:
        AnnotationError: there is no such list, it is in no known layout, or nothing is left of it.
        ConfigError: the layout does not exist, or does not have the option.
    """
    layout, store, name = _found(config)
    rows = layout.read(store, name, **_options(layout, config))
    notices = notices_of(rows)
    for step in (merge_labels, draw_splits, select_labels, sample_clips):
        rows, said = step(rows, config)
        notices += said
    in_all = len(rows)
    rows = rows.slice(0, config.limit).replace_schema_metadata(None).combine_chunks()
    return AnnotationList(rows, tuple(notices + notices_about(rows)), in_all)


def require_list(config: AnnotationsConfig) -> None:
    """Make sure that there is a list in a layout that is known; its rows are not read.

    Raises:
        AnnotationError, ConfigError: as ``read_annotations``.
    """
    _found(config)


def _found(config: AnnotationsConfig) -> tuple[ModuleType, Store, str]:
    """The list's layout, and where it is: store and name."""
    folder, _, name = absolute_uri(config.path).rstrip("/").rpartition("/")
    store = Store(folder or "/")
    if not store.exists(name):
        raise AnnotationError(f"annotations {config.path}: there is no such file or folder")
    return _layout(config, store, name), store, name


def _layout(config: AnnotationsConfig, store: Store, name: str) -> ModuleType:
    """The layout that was asked for, or the one that fits."""
    layouts = _layouts()
    if config.layout is not None:
        if config.layout not in layouts:
            raise ConfigError(f"annotations.layout {config.layout!r} is unknown; there are: {', '.join(layouts)}")
        return layouts[config.layout]
    fitting = [key for key, layout in layouts.items() if layout.fits(store, name)]
    fitting = [key for key in fitting if not getattr(layouts[key], "LAST_RESORT", False)] or fitting
    if not fitting:
        known = "; ".join(_description(layout) for layout in layouts.values())
        raise AnnotationError(f"annotations {config.path}: in no known layout ({known}){_looks(store, name)}")
    if len(fitting) > 1:
        raise AnnotationError(
            f"annotations {config.path}: fits several layouts; say which by annotations.layout: {', '.join(fitting)}"
        )
    return layouts[fitting[0]]


def _layouts() -> dict[str, ModuleType]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def _description(layout: ModuleType) -> str:
    return (layout.__doc__ or layout.__name__).splitlines()[0].rstrip(".")


def _options(layout: ModuleType, config: AnnotationsConfig) -> dict[str, object]:
    taken = getattr(layout, "OPTIONS", ())
    for option, default in _LAYOUT_OPTIONS.items():
        if option not in taken and getattr(config, option) != default:
            name = layout.__name__.rpartition(".")[2]
            raise ConfigError(f"annotations.{option} is set, but {config.path} is a list of layout {name}, without it")
    return {option: getattr(config, option) for option in taken}


def _looks(store: Store, name: str) -> str:
    """What there is instead of a list, for the message."""
    if is_folder(store, name):
        return f"; the folder has: {', '.join(names_in(store, name)[:5]) or 'no file'}"
    head = head_of(store, name)
    return f"; it begins with {shown(head[0], 80)}" if head else "; it is empty"
