"""A folder of videos by class: split/class/video, or class/video.

Without splits, each class is divided 80 : 10 : 10 by a hash of the video's name, so that adding videos moves none.
"""

from __future__ import annotations

import hashlib

from vidclf.annotations import SPLITS
from vidclf.clips import Annotation
from vidclf.errors import AnnotationError
from vidclf.sources.folder import EXTENSIONS
from vidclf.storage import Store


def fits(store: Store, name: str) -> bool:
    return bool(store.fs.isdir(store.full(name)))


def read(store: Store, name: str) -> list[Annotation]:
    """List the folder. ``source_id`` is the path inside it, so ``sources: [{kind: folder, path: …}]`` finds it again.

    Raises:
        AnnotationError: there is no video two or three levels deep.
    """
    root = store.full(name)
    paths = sorted(path[len(root) :].strip("/") for path in store.fs.find(root))
    annotations: list[Annotation] = []
    for path in paths:
        parts = path.split("/")
        if "." not in parts[-1] or "." + parts[-1].rsplit(".", 1)[1].lower() not in EXTENSIONS:
            continue
        if len(parts) == 3 and parts[0].lower() in SPLITS:
            split, label = SPLITS[parts[0].lower()], parts[1]
        elif len(parts) == 2:
            split, label = _split_of(path), parts[0]
        else:
            continue
        annotations.append(Annotation(path, label, split, None, None, len(annotations)))
    if not annotations:
        raise AnnotationError(f"annotations {store.uri}/{name}: no video in split/class/video or class/video")
    return annotations


def _split_of(path: str) -> str:
    tenth = hashlib.sha256(path.encode()).digest()[0] % 10
    return "test" if tenth == 0 else "val" if tenth == 1 else "train"
