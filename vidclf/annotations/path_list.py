"""Path list: lines of `path label` or `path,label`; or a folder of train.csv, val.csv, test.csv of these.

What SlowFast and pytorchvideo read. The last separator of a line counts, so paths may contain spaces. The videos lie in
a folder that is named as a source: ``sources: [{kind: folder, path: …}]``; ``source_id`` is the path as it is written.
A label that is a number becomes the class of that number where ``classes.txt`` (or ``class_names.txt``, ``labels.txt``,
``classInd.txt``) lies beside the list: a name per line, counted from 0, or ``number name`` lines. A file that is named
after a split, as ``train.csv``, is that split.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from vidclf.annotations._files import MAX_LINE, head_of, is_folder, lines_of, names_in
from vidclf.annotations._groups import group_of
from vidclf.annotations._rows import SPLITS, RawRow, annotations_table, shown
from vidclf.errors import AnnotationError
from vidclf.sources.folder import EXTENSIONS
from vidclf.storage import Store

CLASS_FILES = ("classes.txt", "class_names.txt", "labels.txt", "classInd.txt")

_SUFFIXES = (".csv", ".txt", ".tsv", ".list", ".lst")
_SEPARATORS = (",", "\t", " ")
_PATH_HEADERS = ("path", "file", "filename", "file_path", "video", "video_path", "name")
_VIDEO = tuple(extension for extension in EXTENSIONS if extension)


def fits(store: Store, name: str) -> bool:
    """Whether most of the first lines end in a label behind what looks like a video's path."""
    if is_folder(store, name):
        return bool(_split_files(store, name))
    return _is_list_name(name) and _separator(head_of(store, name)) is not None


def read(store: Store, name: str) -> pa.Table:
    """Read the file, or the folder's files one after the other.

    Raises:
        AnnotationError: there is no path with a label.
    """
    folder, files = (name, _split_files(store, name)) if is_folder(store, name) else (_folder_of(name), [name])
    classes = _classes(store, folder)
    table = annotations_table(chain.from_iterable(_rows(store, file, classes) for file in files))
    if not len(table):
        raise AnnotationError(f"annotations {store.uri}/{name}: there is no line of `path label` or `path,label`")
    return table


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _split_files(store: Store, folder: str) -> list[str]:
    paths = [f"{folder}/{name}" for name in names_in(store, folder) if _is_list_name(name) and _split_of(name)]
    return [path for path in paths if _separator(head_of(store, path)) is not None]


def _is_list_name(path: str) -> bool:
    return path.lower().removesuffix(".gz").endswith(_SUFFIXES)


def _split_of(path: str) -> str | None:
    stem = path.rsplit("/", 1)[-1].split(".")[0].lower()
    return stem if stem in SPLITS else None


def _separator(lines: list[str]) -> str | None:
    """What separates path and label, judged by the lines that have a video's path before it; None: it is no such list."""
    lines = _without_header(lines)[:100]
    for looks_right in (_is_video, _is_path):
        votes = {separator: sum(looks_right(line, separator) for line in lines) for separator in _SEPARATORS}
        best = max(_SEPARATORS, key=lambda separator: votes[separator])
        if lines and votes[best] * 2 >= len(lines):
            return best
    return None


def _is_video(line: str, separator: str) -> bool:
    path, _, label = line.strip().rpartition(separator)
    return bool(label.strip()) and path.strip(' "').lower().endswith(_VIDEO)


def _is_path(line: str, separator: str) -> bool:
    """Paths without a video's extension: with a folder, and without a dot that another separator would explain."""
    path, _, label = line.strip().rpartition(separator)
    return bool(label.strip()) and "/" in path and "." not in path and "://" not in line


def _without_header(lines: list[str]) -> list[str]:
    """The lines below a header such as ``path,label``, if there is one."""
    first = re.split(r"[,\t ]", lines[0], maxsplit=1)[0] if lines else ""
    return lines[1:] if first.strip(' "').lower() in _PATH_HEADERS else lines


def _rows(store: Store, path: str, classes: _Classes | None) -> Iterator[RawRow]:
    head = head_of(store, path)
    separator = _separator(head)
    if separator is None:
        raise AnnotationError(f"annotations {store.uri}/{path}: no lines of `path label` or `path,label`")
    lines = lines_of(store, path)
    if len(_without_header(head)) < len(head):
        next(lines)
    split = _split_of(path)
    for line in lines:
        yield _row(line, separator, split, classes)


def _row(line: str, separator: str, split: str | None, classes: _Classes | None) -> RawRow:
    if len(line) > MAX_LINE:
        return RawRow("", split=split, problem=f"a line of more than {MAX_LINE:,} characters")
    path, label = _cells(line.strip(), separator)
    if not label or label.lower().endswith(_VIDEO):
        return RawRow(path or label, split=split, problem="no label behind the path")
    problem = None
    if classes is not None and label.isdecimal():
        name = classes.name_of(label)
        problem = None if name else f"label {shown(label)} is no class of {classes.name}"
        label = name or label
    return RawRow(path, label, split, group=group_of(path), problem=problem)


def _cells(line: str, separator: str) -> tuple[str, str]:
    """Path and label; the last separator counts, and quotes in a line of commas."""
    if separator == "," and '"' in line:
        cells = next(csv.reader([line]))
        return ",".join(cells[:-1]).strip(), cells[-1].strip()
    path, found, label = line.rpartition(separator)
    return (path.strip(), label.strip()) if found else (label.strip(), "")


class _Classes:
    """The classes of a file beside the list, by number."""

    def __init__(self, name: str, lines: list[str]):
        self.name = name
        numbered = [re.fullmatch(r"(\d{1,9})[\s,]+(\S.*)", line) for line in lines]
        if lines and all(numbered):
            self._names = {int(found[1]): found[2] for found in numbered if found}
        else:
            self._names = dict(enumerate(lines))

    def name_of(self, number: str) -> str | None:
        return self._names.get(int(number)) if len(number) < 10 else None


def _classes(store: Store, folder: str) -> _Classes | None:
    for name in CLASS_FILES:
        path = f"{folder}/{name}" if folder else name
        if store.is_file(path):
            return _Classes(name, [line.strip() for line in lines_of(store, path)])
    return None
