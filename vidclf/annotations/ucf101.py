"""UCF101's official split files: a folder of trainlist01.txt, testlist01.txt, … and classInd.txt.

Lines are ``ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1``, in test lists without the number. ``source_id`` is the path as
the videos lie in ``UCF-101``. https://www.crcv.ucf.edu/data/UCF101.php
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from vidclf.annotations._files import MAX_LINE, lines_of, names_in
from vidclf.annotations._groups import group_of
from vidclf.annotations._rows import RawRow, annotations_table, shown
from vidclf.errors import AnnotationError
from vidclf.storage import Store

OPTIONS = ("split_number",)

_LIST = re.compile(r"(train|test)list0?(\d+)\.txt", re.IGNORECASE)


def fits(store: Store, name: str) -> bool:
    return any(_LIST.fullmatch(file) for file in names_in(store, name))


def read(store: Store, name: str, split_number: int = 1) -> pa.Table:
    """Read the lists of one of the three official splits.

    Raises:
        AnnotationError: the folder has no such split, or its lists are empty.
    """
    found = [match for match in map(_LIST.fullmatch, names_in(store, name)) if match]
    numbers = sorted({int(match[2]) for match in found})
    if split_number not in numbers:
        there = f"there are: {', '.join(map(str, numbers))}" if numbers else "there is no trainlist01.txt or the like"
        raise AnnotationError(f"annotations {store.uri}/{name}: no lists of split {split_number}; {there}")
    chosen = [match for match in found if int(match[2]) == split_number]
    chosen.sort(key=lambda match: match[1].lower() != "train")
    classes = _classes(store, name)
    table = annotations_table(
        chain.from_iterable(_rows(store, f"{name}/{match[0]}", match[1].lower(), classes) for match in chosen)
    )
    if not len(table):
        raise AnnotationError(f"annotations {store.uri}/{name}: the lists of split {split_number} are empty")
    return table


def _rows(store: Store, path: str, split: str, classes: dict[str, str]) -> Iterator[RawRow]:
    for line in lines_of(store, path):
        if len(line) > MAX_LINE:
            yield RawRow("", split=split, problem=f"a line of more than {MAX_LINE:,} characters")
            continue
        found = re.fullmatch(r"(.*\S)\s+(\d+)", line.strip())
        video, number = (found[1], found[2]) if found else (line.strip(), None)
        label, slash, _ = video.partition("/")
        problem = None if slash else f"{shown(video)} is no class/video"
        if slash and number in classes and classes[number] != label:
            problem = f"class {number} is {shown(classes[number])} in classInd.txt, and not {shown(label)}"
        yield RawRow(video, label if slash else None, split, group=group_of(video), problem=problem)


def _classes(store: Store, folder: str) -> dict[str, str]:
    path = f"{folder}/classInd.txt"
    if not store.is_file(path):
        return {}
    pairs = (line.strip().partition(" ") for line in lines_of(store, path))
    return {number: label.strip() for number, _, label in pairs}
