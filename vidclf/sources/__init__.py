"""Where videos come from. One file per source; each registers itself, so a new source is a new file.

A source is a frozen pydantic model: its fields are its options in the configuration
(``sources: [{kind: folder, path: videos}]``), its ``fetch`` gets one video, or what is wanted of it. Sources are tried
in the order given. Secrets are no options: they come from the environment.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vidclf.clips import Clip
from vidclf.errors import ConfigError

SOURCES: dict[str, type[Source]] = {}


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one source video: all of it, or one segment."""

    source_id: str  # the annotation's video id (Kinetics: the YouTube id) or path; hostile input
    clip_id: str
    time_start: float | None = None  # seconds; both None: the whole video
    time_end: float | None = None
    label: str | None = None
    split: str = "train"

    @classmethod
    def of(cls, clip: Clip) -> Wanted:
        """What a clip needs of its video."""
        return cls(clip.source_id, clip.clip_id, clip.time_start, clip.time_end, clip.label, clip.split)


@dataclass(frozen=True)
class Fetched:
    """A local file that holds the whole video, or the part of it from ``begins_at`` to ``ends_at``."""

    path: Path
    begins_at: float = 0.0  # seconds of the video at which the file's first frame is
    ends_at: float | None = None  # None: the video's end


class Source(BaseModel):
    """One place that videos are fetched from. Subclasses add options as fields and implement ``fetch``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]
    #: Options that say how a source is asked, not what it has.
    manner: ClassVar[frozenset[str]] = frozenset({"rate", "pause", "timeout", "sleep", "rate_limit"})

    rate: float | None = Field(None, gt=0, description="videos per hour, over all workers of all runs; None: no bound")
    pause: float = Field(
        60.0, gt=0, description="seconds that everybody waits when the host blocks and names no time; doubled each time"
    )

    def identity(self) -> dict[str, Any]:
        """What decides which videos it has. An option that is left at its default is not in it, so it may be added later."""
        return {"kind": self.kind, **self.model_dump(mode="json", exclude=set(self.manner), exclude_defaults=True)}

    def host(self, wanted: Wanted) -> str | None:
        """Whose patience a fetch costs, as ``youtube.com``; None: nobody's, so it is neither bounded nor held back."""
        return None

    def unit(self, wanted: Wanted) -> str:
        """What one fetch is about: clips of the same unit share what it delivers, and its failure."""
        return wanted.source_id

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        """Fetch a video, or at least the wanted segment of it.

        Args:
            into: an empty local folder that belongs to this call.

        Returns:
            A file inside ``into``.

        Raises:
            SourceError: ``Gone``, ``Blocked`` (with ``retry_after`` where the host named it) or ``Unreachable``.
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
