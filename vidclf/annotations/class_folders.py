"""A folder of videos by class: split/class/video, or class/video; folders below a class belong to it.

It is split/class/video where every top folder is named after a split (train, val, validation, test, …). ``source_id`` is
the path inside the folder, so ``sources: [{kind: folder, path: …}]`` finds it again. Videos of one folder below a class
(``class/person01/…``) are a group, which a drawn split keeps together, and so are those whose names say so
(``v_Basketball_g01_c02.avi``); a folder for each video, as in UCF Sports, groups nothing.
"""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from vidclf.annotations._files import files_below, is_folder
from vidclf.annotations._groups import group_of
from vidclf.annotations._rows import SPLITS, RawRow, annotations_table, counted, shown
from vidclf.errors import AnnotationError
from vidclf.sources.folder import EXTENSIONS
from vidclf.storage import Store

LAST_RESORT = True  # any folder fits


def fits(store: Store, name: str) -> bool:
    return is_folder(store, name)


def read(store: Store, name: str) -> pa.Table:
    """List the folder.

    Raises:
        AnnotationError: there is no video in a class's folder.
    """
    if not is_folder(store, name):
        raise AnnotationError(f"annotations {store.uri}/{name}: it is a file, and this layout is a folder")
    videos = _videos(store, name)
    tops = sorted({parts[0] for parts in videos if len(parts) > 1})
    has_splits = bool(tops) and all(top.lower() in SPLITS for top in tops)
    named = [parts for parts in videos if len(parts) > 1]
    if not named:
        raise AnnotationError(f"annotations {store.uri}/{name}: no video in split/class/video or class/video")
    groups = _groups([parts[has_splits:] for parts in named])
    rows = [_row(parts, has_splits, groups) for parts in named]
    return annotations_table(rows, notices=_notices(videos, tops, has_splits))


def _videos(store: Store, name: str) -> list[tuple[str, ...]]:
    """The parts of every video's path inside the folder, in order; hidden files are none."""
    paths = (tuple(path.split("/")) for path in files_below(store, name))
    return sorted(parts for parts in paths if _is_video(parts))


def _is_video(parts: tuple[str, ...]) -> bool:
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return False
    _, dot, extension = parts[-1].rpartition(".")
    return bool(dot) and f".{extension.lower()}" in EXTENSIONS


def _groups(videos: list[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Folder below a class → group, where it holds several videos and is not the only one of its class."""
    folders = Counter(parts[:-1] for parts in videos if len(parts) > 2)
    of_class = Counter(folder[0] for folder in folders)
    return {folder: "/".join(folder) for folder, number in folders.items() if number > 1 and of_class[folder[0]] > 1}


def _row(parts: tuple[str, ...], has_splits: bool, groups: dict[tuple[str, ...], str]) -> RawRow:
    inside = parts[has_splits:]  # class/…/video
    label = inside[0] if len(inside) > 1 else None
    group = groups.get(inside[:-1]) or group_of(parts[-1])
    return RawRow("/".join(parts), label, parts[0] if has_splits else None, group=group)


def _notices(videos: list[tuple[str, ...]], tops: list[str], has_splits: bool) -> list[str]:
    notices = []
    loose = [parts[0] for parts in videos if len(parts) == 1]
    if loose:
        notices.append(f"left out: {counted(len(loose), 'video')} in no class's folder, first {shown(loose[0])}")
    named_as_splits = [top for top in tops if top.lower() in SPLITS]
    if named_as_splits and not has_splits:
        others = [top for top in tops if top not in named_as_splits]
        notices.append(
            f"the folders {', '.join(map(shown, named_as_splits[:3]))} are named as splits, but {shown(others[0])} is not: "
            "all of them were taken for classes"
        )
    if not has_splits and len(tops) == 1:
        notices.append(f"{shown(tops[0])} is the only class; if it holds the classes, it is the path to give")
    return notices
