"""Reading annotation files: text, plain or gzipped, from any store; what it holds may be hostile."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator

from vidclf.errors import AnnotationError, StorageError
from vidclf.storage import Store

#: Bytes that are looked at to tell a layout.
HEAD = 1 << 16

#: Characters of a line above which it is no row of a list; below Python's own bound for a field of a CSV.
MAX_LINE = 1 << 16


def is_folder(store: Store, path: str) -> bool:
    return bool(store.fs.isdir(store.full(path)))


def names_in(store: Store, folder: str) -> list[str]:
    """Names of the files right in ``folder``, sorted; none where it is no folder."""
    if not is_folder(store, folder):
        return []
    return [path.rsplit("/", 1)[-1] for path in store.files(folder)]


def files_below(store: Store, folder: str) -> list[str]:
    """Paths, inside ``folder``, of all files below it; links are followed, but not into a folder that they lie in.

    Raises:
        StorageError: a folder cannot be listed.
    """
    root = store.full(folder)
    if not store.is_local:
        store.fs.invalidate_cache()
        return [path[len(root) :].strip("/") for path in store.fs.find(root)]
    found: list[str] = []
    for here, folders, names in os.walk(root, onerror=_cannot_list, followlinks=True):
        folders[:] = [name for name in folders if not _is_loop(os.path.join(here, name))]
        found += (os.path.relpath(os.path.join(here, name), root) for name in names)
    return found


def _is_loop(path: str) -> bool:
    if not os.path.islink(path):
        return False
    target, here = os.path.realpath(path), os.path.realpath(os.path.dirname(path))
    return f"{here}/".startswith(f"{target.rstrip('/')}/")


def _cannot_list(error: OSError) -> None:
    raise StorageError(f"cannot list {error.filename}: {error.strerror}") from error


def read_text(store: Store, path: str) -> io.TextIOWrapper:
    """The file's text, any line end as ``\\n``, without a byte order mark. Bytes that are no UTF-8 become U+FFFD.

    Raises:
        AnnotationError: it is a folder, or its compression is damaged.
    """
    if is_folder(store, path):
        raise AnnotationError(f"annotations {store.uri}/{path}: it is a folder, and this layout is a file")
    data = store.read_bytes(path)
    if path.lower().endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise AnnotationError(f"annotations {store.uri}/{path}: damaged gzip ({error})") from None
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="replace")


def lines_of(store: Store, path: str) -> Iterator[str]:
    """The lines that are not blank, without their ends. Raises as ``read_text`` does."""
    with read_text(store, path) as text:
        for line in text:
            if not line.isspace():
                yield line.rstrip("\n")


def head_of(store: Store, path: str) -> list[str]:
    """The first lines of a file that are not blank, without the one that the end of the look cuts; none of a folder."""
    if is_folder(store, path):
        return []
    try:
        with store.fs.open(store.full(path), "rb") as file:
            data = file.read(HEAD)
    except OSError as error:
        raise StorageError(f"cannot read {store.uri}/{path}: {error.strerror or error}") from error
    if path.lower().endswith(".gz"):
        try:
            data = zlib.decompressobj(wbits=31).decompress(data, HEAD)
        except zlib.error:
            return []
    text = io.StringIO(data.decode("utf-8-sig", errors="replace"), newline=None).read()
    lines = text.split("\n")
    if len(data) == HEAD and len(lines) > 1:
        lines.pop()
    return [line for line in lines if line.strip()]
