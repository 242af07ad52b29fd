"""A mirror: whole videos or clips already cut, each at an address that a template makes."""

from __future__ import annotations

import math
import string
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field

from vidclf.errors import Blocked, Gone, StorageError, Unreachable
from vidclf.redaction import scrubbed
from vidclf.sources import Fetched, Source, Wanted, register
from vidclf.sources._http import GONE, download
from vidclf.storage import Store, absolute_uri

#: field of the template → an example of its value
FIELDS: dict[str, Any] = {"id": "x", "start": 1, "end": 2, "clip_id": "x", "label": "x", "split": "x"}
CUT = {"start", "end", "clip_id"}  # where the address names one of these, a clip lies there and not the whole video
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".gif")


def template(uri: str) -> str:
    """``uri`` if it is a template that this source understands.

    Raises:
        ValueError: what is wrong with it, and what is allowed.
    """
    for _, name, spec, conversion in string.Formatter().parse(uri):
        if name is None:
            continue
        if name not in FIELDS or conversion or "{" in (spec or ""):
            raise ValueError(
                f"{{{name}}} is no field of an address; there are: {', '.join(map('{{{}}}'.format, FIELDS))}"
            )
        try:
            format(FIELDS[name], spec or "")
        except ValueError as error:
            raise ValueError(f"{{{name}:{spec}}}: {error}") from None
    if not _fields(uri) & {"id", "clip_id"}:
        raise ValueError("the address is the same for every video: it needs {id} or {clip_id}")
    parts = urlsplit(uri)
    if "@" in parts.netloc:
        raise ValueError("a user or password in an address would be seen by everybody who sees the configuration")
    if "{" in parts.scheme + parts.netloc:
        raise ValueError("the host cannot depend on the video")
    if "://" in uri and not parts.netloc and parts.scheme != "file":
        raise ValueError("the address names no host")
    return absolute_uri(uri)


@register("mirror")
class Mirror(Source):
    """One file per video or per clip, on a web server, in a bucket or in a folder.

    Where the template names times (or ``{clip_id}``), what lies there is the clip already cut.
    """

    uri: Annotated[str, AfterValidator(template)] = Field(
        description="address with fields: https://host/k700/{split}/{label}/{id}_{start:06d}_{end:06d}.mp4; "
        "fields: id, start, end (seconds), clip_id, label, split; http(s) or any fsspec URI such as s3://bucket/{id}.mp4"
    )
    timeout: float = Field(30.0, gt=0, description="seconds of silence after which the host counts as down")
    max_bytes: int = Field(
        4 << 30, ge=1, description="a file that is larger is refused, as gone: it will be as large the next time"
    )
    gone: tuple[int, ...] = Field(
        GONE, description="HTTP statuses that mean: not there. Buckets that may not be listed say 403 for that"
    )

    def host(self, wanted: Wanted) -> str | None:
        """The web server with its port, or the bucket; None for a local folder."""
        return urlsplit(self.uri).netloc or None

    def unit(self, wanted: Wanted) -> str:
        """A clip of its own where clips lie there; else the video, with what else its address depends on."""
        fields = _fields(self.uri)
        if fields & CUT:
            return wanted.clip_id
        beside = [str(value) for name, value in (("split", wanted.split), ("label", wanted.label)) if name in fields]
        return "/".join([*beside, wanted.source_id])

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        """See ``Source.fetch``. An id that would leave the mirror's folder is ``Gone``."""
        address = self._address(wanted)
        suffix = PurePosixPath(urlsplit(address).path if self._is_http else address).suffix.lower()
        local = into / f"video{suffix if suffix in SUFFIXES else ''}"
        if self._is_http:
            download(address, local, self.timeout, self.max_bytes, self.gone)
        else:
            self._copy(address, local)
        if _fields(self.uri) & CUT and wanted.time_start is not None:
            return Fetched(local, wanted.time_start, wanted.time_end)
        return Fetched(local)

    @property
    def _is_http(self) -> bool:
        return self.uri.startswith(("http://", "https://"))

    def _address(self, wanted: Wanted) -> str:
        """The template, filled in. Ids and labels are hostile: each stays within its part of the path."""
        values: dict[str, Any] = {"id": wanted.source_id, "clip_id": wanted.clip_id, "split": wanted.split}
        values |= {"label": wanted.label, "start": _seconds(wanted.time_start), "end": _seconds(wanted.time_end)}
        filled = ""
        for literal, name, spec, _ in string.Formatter().parse(self.uri):
            filled += literal
            if name is not None:
                filled += self._part(wanted, name, values[name], spec or "")
        if any(part in (".", "..") for part in filled.split("/")):
            raise Gone(f"{wanted.source_id!r} lies outside of the mirror")
        return filled

    def _part(self, wanted: Wanted, name: str, value: Any, spec: str) -> str:
        if value is None:
            raise Gone(f"{wanted.clip_id!r} has no {name}, which the mirror's address needs")
        try:
            text = format(value, spec)
        except ValueError:
            raise Gone(f"the mirror names whole seconds, and {name} of {wanted.clip_id!r} is {value}") from None
        if not text or "/" in text or "\\" in text or not text.isprintable():
            raise Gone(f"{text[:80]!r} cannot be the name of a file of the mirror")
        return quote(text, safe="") if self._is_http else text

    def _copy(self, address: str, local: Path) -> None:
        """From a bucket or folder. Only the template's own beginning is read as a URI, never what an id wrote."""
        root = self.uri.partition("{")[0].rpartition("/")[0]
        store, path = Store(root), address[len(root) + 1 :]
        try:
            if store.is_local and not Path(store.root).is_dir():
                raise Unreachable(f"there is no folder {root}")
            if not store.is_file(path):
                raise Gone(f"there is no {path!r} in {root}")
            if (size := store.fs.size(store.full(path)) or 0) > self.max_bytes:
                raise Gone(f"{root}/{path} has {size:,} bytes, and max_bytes allows {self.max_bytes:,}")
            store.get_file(path, local)
        except (StorageError, OSError) as error:
            local.unlink(missing_ok=True)
            refused = isinstance(error.__cause__ or error, PermissionError) and not store.is_local
            raise (Blocked if refused else Unreachable)(scrubbed(str(error))) from None


def _fields(uri: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(uri) if name is not None}


def _seconds(time: float | None) -> int | float | None:
    """Whole seconds as a whole number, since ``06d`` takes no other."""
    if time is None or not math.isfinite(time):
        return None
    return int(time) if float(time).is_integer() else time
