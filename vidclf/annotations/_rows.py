"""From the text of a list to its table: one row per line, and a ``problem`` where one makes no sense.

Columns are looked at as Arrow arrays, since a list can have a million rows; only rows with a problem become Python
objects, to be described.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidclf.clips import ANNOTATIONS

#: What annotation files call their splits → what they are called here.
SPLITS = {"train": "train", "training": "train", "val": "val", "validate": "val", "validation": "val", "valid": "val",
          "test": "test", "testing": "test"}  # fmt: skip

MAX_ID = 1000  # characters
MAX_LABEL = 300  # characters
MAX_SECONDS = 1e6
BATCH = 32_768  # rows that are Python objects at a time

#: Where a layout's table says something about the whole list: one-line sentences, as JSON.
NOTICES = b"notices"

_SECONDS = r"^\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_UNPRINTABLE = r"[\p{Cc}\p{Zl}\p{Zp}]"


class RawRow(NamedTuple):
    """A row as it is written. None: the layout has no such thing; an empty text is a value that is missing."""

    source_id: str
    label: str | None = None
    split: str | None = None
    time_start: str | None = None  # seconds; both times None: the whole video
    time_end: str | None = None
    group: str | None = None
    problem: str | None = None  # what the layout found already


#: The same as a table, for layouts that read columns rather than rows.
RAW = pa.schema([(name, pa.string()) for name in RawRow._fields])


def annotations_table(rows: Iterable[RawRow], id_name: str = "path", notices: Sequence[str] = ()) -> pa.Table:
    """``rows`` in their order as a table of schema ``ANNOTATIONS``; see ``checked``."""
    return checked(_batches(rows), id_name, notices)


def checked(batches: Iterable[pa.Table], id_name: str, notices: Sequence[str] = ()) -> pa.Table:
    """Tables of schema ``RAW`` as one of schema ``ANNOTATIONS``, with a problem where a row makes no sense.

    Args:
        id_name: what the list calls its ``source_id``, for the problems.
        notices: what the layout has to say about the whole list; see ``notices_of``.
    """
    raw = _trimmed(batches)
    ids, labels = raw["source_id"], raw["label"]
    start, end = _seconds(raw["time_start"]), _seconds(raw["time_end"])
    whole_video = pc.and_(pc.is_null(raw["time_start"]), pc.is_null(raw["time_end"]))
    no_times = pc.and_(pc.or_(pc.is_null(start), pc.is_null(end)), pc.invert(whole_video))
    split = _known_split(raw["split"])
    no_split = pc.and_(pc.is_valid(raw["split"]), pc.is_null(split))
    bad_label = _is_unusable(labels, MAX_LABEL)
    problems = _Problems(raw)
    problems.add(pc.equal(ids, ""), lambda row: f"no {id_name}")
    problems.add(_is_unusable(ids, MAX_ID), lambda row: _why_unusable(id_name, row["source_id"], MAX_ID))
    problems.add(bad_label, lambda row: _why_unusable("label", row["label"], MAX_LABEL))
    problems.add(no_split, lambda row: f"split {shown(row['split'])} is none of train, validate, test")
    problems.add(no_times, lambda row: f"times {shown(row['time_start'])} to {shown(row['time_end'])} are no seconds")
    problems.add(
        pc.fill_null(pc.greater_equal(start, end), False),
        lambda row: f"time_end {float(row['time_end']):g} is not after time_start {float(row['time_start']):g}",
    )
    null = pa.scalar(None, pa.string())
    columns = {
        "source_id": _ids(ids),
        "label": pc.if_else(pc.or_(bad_label, pc.equal(labels, "")), null, labels),
        "split": pc.if_else(no_split, "train", split),
        "group": raw["group"],
        "time_start": pc.if_else(no_times, pa.scalar(None, pa.float64()), start),
        "time_end": pc.if_else(no_times, pa.scalar(None, pa.float64()), end),
        "problem": problems.column(),
    }
    table = pa.table(columns, schema=ANNOTATIONS).combine_chunks()
    return table.replace_schema_metadata({NOTICES: json.dumps(list(notices))})


def notices_of(table: pa.Table) -> list[str]:
    """What the layout had to say about the whole list."""
    return list(json.loads((table.schema.metadata or {}).get(NOTICES, b"[]")))


def shown(text: Any, length: int = 40) -> str:
    """``text`` for a message: quoted, its control characters visible, not too long."""
    text = str(text)
    return repr(text if len(text) <= length else text[:length] + "…")


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" + ("s" if number != 1 else "")


class _Problems:
    """Collects what is wrong with each row. A row with a problem of its layout's is not looked at further."""

    def __init__(self, raw: pa.Table):
        self._raw = raw
        self._first = pc.is_null(raw["problem"])
        self._found: dict[int, list[str]] = defaultdict(list)

    def add(self, is_wrong: pa.ChunkedArray, say: Callable[[dict[str, Any]], str]) -> None:
        mask = pc.and_(self._first, pc.fill_null(is_wrong, False))
        indices = np.flatnonzero(mask.to_numpy())
        for begin in range(0, len(indices), BATCH):
            some = indices[begin : begin + BATCH]
            for index, row in zip(some.tolist(), self._raw.take(pa.array(some)).to_pylist(), strict=True):
                self._found[index].append(say(row))

    def column(self) -> pa.ChunkedArray:
        if not self._found:
            return self._raw["problem"]
        texts: list[str | None] = [None] * len(self._raw)
        for index, problems in self._found.items():
            texts[index] = "; ".join(problems)
        return pc.coalesce(self._raw["problem"], pa.chunked_array([pa.array(texts, pa.string())]))


def _batches(rows: Iterable[RawRow]) -> Iterator[pa.Table]:
    """The rows as tables of schema ``RAW``, few of them as Python objects at a time."""
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        yield pa.table([strings(column) for column in zip(*batch, strict=True)], schema=RAW)


def _trimmed(batches: Iterable[pa.Table]) -> pa.Table:
    """One table; without space around the texts, but for ids, which may be paths."""
    table = pa.concat_tables([RAW.empty_table(), *batches])
    return pa.table([table["source_id"], *(pc.utf8_trim_whitespace(table[name]) for name in RAW.names[1:])], schema=RAW)


def strings(values: Sequence[str | None]) -> pa.Array:
    """Texts as Arrow wants them: what is no Unicode becomes U+FFFD."""
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:  # lone surrogates: from JSON, or from file names that are no UTF-8
        clean = [text and text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in values]
        return pa.array(clean, pa.string())


def _seconds(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Seconds as float64; null where the text is no number between 0 and ``MAX_SECONDS``."""
    is_number = pc.match_substring_regex(texts, _SECONDS)
    values = pc.cast(pc.if_else(is_number, pc.utf8_ltrim(texts, "+"), pa.scalar(None, pa.string())), pa.float64())
    return pc.if_else(pc.less(values, MAX_SECONDS), values, pa.scalar(None, pa.float64()))


def _known_split(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    position = pc.index_in(pc.utf8_lower(texts), value_set=pa.array(list(SPLITS)))
    return pc.take(pa.array(list(SPLITS.values())), position)


def _is_unusable(texts: pa.ChunkedArray, length: int) -> pa.ChunkedArray:
    """Control characters, bytes that were no UTF-8, or too long. Null is usable."""
    unprintable = pc.or_(pc.match_substring_regex(texts, _UNPRINTABLE), pc.match_substring(texts, "\ufffd"))
    return pc.fill_null(pc.or_(unprintable, pc.greater(pc.utf8_length(texts), length)), False)


def _why_unusable(name: str, text: str, length: int) -> str:
    if len(text) > length:
        return f"{name} has {len(text):,} characters, more than {length:,}"
    if "\ufffd" in text:
        return f"{name} {shown(text)} is not UTF-8"
    return f"{name} {shown(text)} has control characters"


def _ids(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids as they are; too long ones cut, and missing ones replaced by their row's number."""
    texts = pc.utf8_slice_codeunits(texts, 0, MAX_ID)
    missing = pc.equal(texts, "")
    if not pc.any(missing).as_py():
        return texts
    numbers = pc.binary_join_element_wise("row", pc.cast(pa.array(np.arange(len(texts))), pa.string()), "-")
    return pc.if_else(missing, numbers, texts)
