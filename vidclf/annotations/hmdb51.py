"""HMDB51's official split files: a folder of {class}_test_split1.txt, ….

Lines are ``name.avi 1``: 1 is training, 2 is test, 0 is in neither, and left out. ``source_id`` is ``class/name.avi``, as the
videos lie. https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow as pa

from vidclf.annotations._files import MAX_LINE, lines_of, names_in
from vidclf.annotations._groups import group_of
from vidclf.annotations._rows import RawRow, annotations_table, counted, shown
from vidclf.errors import AnnotationError
from vidclf.storage import Store

OPTIONS = ("split_number",)

_LIST = re.compile(r"(.+)_test_split(\d+)\.txt")
_PARTS = {"1": "train", "2": "test"}


def fits(store: Store, name: str) -> bool:
    return any(_LIST.fullmatch(file) for file in names_in(store, name))


def read(store: Store, name: str, split_number: int = 1) -> pa.Table:
    """Read the lists of one of the three official splits.

    Raises:
        AnnotationError: the folder has no such split, or nothing is in it.
    """
    found = [match for match in map(_LIST.fullmatch, names_in(store, name)) if match]
    numbers = sorted({int(match[2]) for match in found})
    if split_number not in numbers:
        there = f"there are: {', '.join(map(str, numbers))}" if numbers else "there is no {class}_test_split1.txt"
        raise AnnotationError(f"annotations {store.uri}/{name}: no lists of split {split_number}; {there}")
    rows, unused = [], 0
    for match in found:
        if int(match[2]) != split_number:
            continue
        for row in _rows(store, f"{name}/{match[0]}", match[1]):
            if row is None:
                unused += 1
            else:
                rows.append(row)
    if not rows:
        raise AnnotationError(f"annotations {store.uri}/{name}: nothing is in split {split_number}")
    notice = f"left out: {counted(unused, 'video')} in neither part of HMDB51's split {split_number}"
    return annotations_table(rows, notices=[notice] if unused else [])


def _rows(store: Store, path: str, label: str) -> Iterator[RawRow | None]:
    """The rows of one class; None for a video that the split does not use."""
    for line in lines_of(store, path):
        if len(line) > MAX_LINE:
            yield RawRow("", label, "train", problem=f"a line of more than {MAX_LINE:,} characters")
            continue
        video, _, part = line.strip().rpartition(" ")
        if part == "0" and video:
            yield None
            continue
        problem = None
        if part not in _PARTS or not video:
            video, problem = video or part, f"{shown(line.strip())} does not end in 0, 1 or 2"
        yield RawRow(
            f"{label}/{video.strip()}", label, _PARTS.get(part, "train"), group=group_of(video), problem=problem
        )
