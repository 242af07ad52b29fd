"""Kinetics CSV: label, youtube_id, time_start, time_end, split.

The columns of Kinetics 400, 600, 700 and 700-2020, in any order; further ones (``is_cc``) are passed over, and test
lists come without ``label``. A folder that holds ``train.csv``, ``validate.csv``, ``test.csv`` of this kind is one list.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain, islice

import pyarrow as pa
import pyarrow.compute as pc

from vidclf.annotations._files import MAX_LINE, head_of, is_folder, lines_of, names_in
from vidclf.annotations._rows import BATCH, RAW, SPLITS, checked, strings
from vidclf.errors import AnnotationError
from vidclf.storage import Store

REQUIRED = ("youtube_id", "time_start", "time_end", "split")


def fits(store: Store, name: str) -> bool:
    """Whether the header has a column of Kinetics'; which are missing, ``read`` says."""
    if is_folder(store, name):
        return bool(_split_files(store, name))
    return name.lower().endswith((".csv", ".csv.gz")) and _is_header(head_of(store, name))


def read(store: Store, name: str) -> pa.Table:
    """Read the file, or the folder's files one after the other.

    Raises:
        AnnotationError: columns are missing, or there is no row.
    """
    files = _split_files(store, name) if is_folder(store, name) else [name]
    if not files:
        raise AnnotationError(f"annotations {store.uri}/{name}: the folder has no train.csv, val.csv or test.csv")
    table = checked(chain.from_iterable(_tables(store, file) for file in files), "youtube_id")
    if not len(table):
        raise AnnotationError(f"annotations {store.uri}/{name}: there is no row below the header")
    return table


def _split_files(store: Store, folder: str) -> list[str]:
    named = [name for name in names_in(store, folder) if name.lower().removesuffix(".gz").endswith(".csv")]
    paths = [f"{folder}/{name}" for name in named if name.split(".")[0].lower() in SPLITS]
    return [path for path in paths if _is_header(head_of(store, path))]


def _is_header(head: list[str]) -> bool:
    columns = _columns(head[0]) if head else []
    return columns[:1] == ["label"] or any(column in columns for column in REQUIRED[:3])


def _columns(line: str) -> list[str]:
    return [column.strip().lower() for column in next(csv.reader([line[:MAX_LINE]]))]


def _tables(store: Store, path: str) -> Iterator[pa.Table]:
    lines = lines_of(store, path)
    header = next(lines, "")
    columns = _columns(header) if header else []
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise AnnotationError(
            f"annotations {store.uri}/{path}: column{'s' if len(missing) > 1 else ''} {', '.join(missing)} missing; "
            f"a Kinetics CSV has label,{','.join(REQUIRED)}, and this one {','.join(columns)[:200] or 'is empty'}"
        )
    while batch := list(islice(lines, BATCH)):
        yield _table(_cells(batch), columns)


def _table(rows: list[list[str]], columns: list[str]) -> pa.Table:
    """The cells of some rows as a table of schema ``RAW``."""
    width = len(columns)
    problems = {}
    for number, cells in enumerate(rows):
        if len(cells) != width:
            rows[number], problems[number] = _squared(cells, width)
    column = dict(zip(reversed(columns), reversed(list(zip(*rows, strict=True))), strict=True))  # the first of a name
    absent = pa.nulls(len(rows), pa.string())
    values = {
        "source_id": pc.utf8_trim_whitespace(strings(column["youtube_id"])),
        "label": strings(column["label"]) if "label" in column else absent,
        **{name: strings(column[name]) for name in ("split", "time_start", "time_end")},
        "group": absent,
        "problem": strings([problems.get(number) for number in range(len(rows))]) if problems else absent,
    }
    return pa.table([values[name] for name in RAW.names], schema=RAW)


def _cells(lines: list[str]) -> list[list[str]]:
    """The cells of each line, as many lists as lines: a quote that is never closed costs its own line alone."""
    lines = [line if len(line) <= MAX_LINE else "" for line in lines]
    try:
        rows = list(csv.reader(lines))
    except csv.Error:  # an open quote swallowed more than a cell may hold
        rows = []
    return rows if len(rows) == len(lines) else [next(csv.reader([line]), []) for line in lines]


def _squared(cells: list[str], width: int) -> tuple[list[str], str | None]:
    """``width`` cells, and what is wrong with a row that has fewer or more; empty ones at the end are not."""
    if not cells:
        return [""] * width, f"a line of more than {MAX_LINE:,} characters"
    if len(cells) > width and not any(cells[width:]):
        return cells[:width], None
    return (cells + [""] * width)[:width], f"{len(cells)} cells, where the header has {width}"
