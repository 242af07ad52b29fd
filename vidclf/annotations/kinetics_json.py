"""Kinetics JSON: {youtube_id: {annotations: {label, segment}, subset, …}}.

``annotations`` may be missing, as in test lists; without a ``segment`` the whole video is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import pyarrow as pa

from vidclf.annotations._files import head_of, read_text
from vidclf.annotations._rows import RawRow, annotations_table, shown
from vidclf.errors import AnnotationError
from vidclf.storage import Store

_SPACE = re.compile(r"\s*")
_BEGIN = re.compile(r'\s*\{\s*("(?:[^"\\]|\\.)*"\s*:\s*\{|\}\s*$)')


def fits(store: Store, name: str) -> bool:
    if not name.lower().endswith((".json", ".json.gz")):
        return False
    return bool(_BEGIN.match("\n".join(head_of(store, name))))


def read(store: Store, name: str) -> pa.Table:
    """Read the file, one entry after the other: an id that is there twice gives two rows.

    Raises:
        AnnotationError: the text is not JSON of this form, or it has no entry.
    """
    with read_text(store, name) as file:
        text = file.read()
    try:
        table = annotations_table((_row(key.strip(), entry) for key, entry in _entries(text)), "youtube_id")
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"annotations {store.uri}/{name}: not a JSON object of entries by id: {error}") from None
    if not len(table):
        raise AnnotationError(f"annotations {store.uri}/{name}: there is no entry")
    return table


def _entries(text: str) -> Iterator[tuple[str, Any]]:
    """The members of the JSON object that ``text`` is, without holding all of them. ValueError: it is none."""
    decoder = json.JSONDecoder(parse_int=float)  # a float of 5,000 digits is infinite, an int of as many an error
    position = _after(text, 0, "{")
    while text[position : position + 1] != "}":
        key, position = scanstring(text, _after(text, position, '"', skip=False))
        value, position = decoder.raw_decode(text, _after(text, _space(text, position), ":"))
        yield key, value
        position = _space(text, position)
        if text[position : position + 1] != "}":
            position = _after(text, position, ",")
    if _space(text, position + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, position + 1)


def _space(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()  # type: ignore[union-attr]  # an empty match, if no other


def _after(text: str, position: int, mark: str, skip: bool = True) -> int:
    """The position behind ``mark``, which must come next, and behind the space that follows it (``skip``)."""
    position = _space(text, position)
    if text[position : position + 1] != mark:
        raise json.JSONDecodeError(f"Expecting {mark!r}", text, position)
    return _space(text, position + 1) if skip else position + 1


def _row(youtube_id: str, entry: Any) -> RawRow:
    if not isinstance(entry, dict):
        return RawRow(youtube_id, split="train", problem=f"the entry is no object, but {shown(json.dumps(entry))}")
    split = str(entry.get("subset", ""))
    annotations = entry.get("annotations", {})
    if not isinstance(annotations, dict):
        return RawRow(
            youtube_id, None, split, problem=f"annotations are no object, but {shown(json.dumps(annotations))}"
        )
    label, segment = annotations.get("label"), annotations.get("segment")
    if label is not None and not isinstance(label, str):
        return RawRow(youtube_id, None, split, problem=f"label {shown(json.dumps(label))} is no text")
    if segment is None:
        return RawRow(youtube_id, label, split)
    if not isinstance(segment, list) or len(segment) != 2:
        return RawRow(youtube_id, label, split, problem=f"segment {shown(json.dumps(segment))} is no [start, end]")
    return RawRow(youtube_id, label, split, str(segment[0]), str(segment[1]))
