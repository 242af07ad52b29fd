"""Where videos come from. One file per source; each registers itself, so a new source is a new file.

A source is a frozen pydantic model: its fields are its options in the configuration
(``sources: [{kind: folder, path: videos}]``), its ``fetch`` gets one video. Sources are tried in the order given.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vidclf.errors import ConfigError

SOURCES: dict[str, type[Source]] = {}


class Source(BaseModel):
    """One place that videos are fetched from. Subclasses add options as fields and implement ``fetch``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]

    def fetch(self, source_id: str, into: Path) -> Path:
        """Fetch one whole video.

        Args:
            source_id: the annotation's video id (Kinetics: the YouTube id) or path; hostile input.
            into: an empty local folder that belongs to this call.

        Returns:
            The file's path, inside ``into``.

        Raises:
            SourceError: ``Gone``, ``Blocked`` or ``Unreachable``.
        """
        raise NotImplementedError


SourceClass = TypeVar("SourceClass", bound=type[Source])


def register(kind: str) -> Callable[[SourceClass], SourceClass]:
    """Class decorator: make a source known under ``kind``."""

    def decorate(source: SourceClass) -> SourceClass:
        source.kind = kind
        SOURCES[kind] = source
        return source

    return decorate


def load_all() -> dict[str, type[Source]]:
    """Import every module of this package, and return kind → class."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return SOURCES


def parse_source(options: dict[str, Any] | Source) -> Source:
    """``{"kind": "folder", "path": "videos"}`` → a source.

    Raises:
        ConfigError: the kind is unknown, or an option is.
    """
    if isinstance(options, Source):
        return options
    known = load_all()
    values = dict(options)
    kind = values.pop("kind", None)
    if kind not in known:
        raise ConfigError(f"source kind {kind!r} is unknown; there are: {', '.join(sorted(known))}")
    try:
        return known[kind].model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"source {kind!r}, option {where!r}: {first['msg']}") from None
