"""What lies in a dataset, file by file: a dataset of Kinetics' size has more than a million."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from vidclf.errors import StorageError
from vidclf.storage import REQUESTS_AT_A_TIME, Store

BATCH = 1000  # files between two looks at the lease
_BLOCK = 8 << 20  # bytes read at a time

#: The names of ``Store``'s temporary files; a write that is killed leaves one behind.
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}|\.write-check-[0-9a-f]{32}")

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class StoredFile:
    """One file of a store."""

    path: str  # relative to the store's root
    bytes: int
    modified: float  # seconds since the epoch

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def is_temporary(self) -> bool:
        """Whether it has the name of a file that is being written."""
        return _TEMPORARY.fullmatch(self.name) is not None

    @property
    def is_hidden(self) -> bool:
        return self.name.startswith(".")


@dataclass
class Tally:
    """How many files, and how many bytes in them."""

    files: int = 0
    bytes: int = 0

    def add(self, file: StoredFile) -> None:
        self.files += 1
        self.bytes += file.bytes


def files_in(store: Store, folder: str = "") -> Iterator[StoredFile]:
    """All files in ``folder`` (empty: the store) and the folders in it, hidden ones too, as they come.

    Raises:
        StorageError: the store could not be listed.
    """
    try:
        yield from _local_files(store, folder) if store.is_local else _remote_files(store, folder)
    except StorageError:
        raise
    except Exception as error:  # botocore's errors share no base with OSError
        raise StorageError(f"cannot list {store.uri}/{folder}: {error}") from error


def folders_in(store: Store, folder: str) -> list[str]:
    """Names of the folders right in ``folder``, sorted; none where it is not there."""
    try:
        store.fs.invalidate_cache()
        entries = store.fs.ls(store.full(folder), detail=True)
    except FileNotFoundError:
        return []
    except Exception as error:  # as above
        raise StorageError(f"cannot list {store.uri}/{folder}: {error}") from error
    names = (entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory")
    return sorted(name for name in names if name)


def digest_of(store: Store, path: str) -> tuple[int, str] | None:
    """Size in bytes and SHA-256 of a file; None where it is not there.

    Raises:
        StorageError: it cannot be read.
    """
    size, digest = 0, hashlib.sha256()
    try:
        with store.fs.open(store.full(path), "rb") as file:
            while block := file.read(_BLOCK):
                size += len(block)
                digest.update(block)
    except FileNotFoundError:
        return None
    except Exception as error:  # as above
        raise StorageError(f"cannot read {store.uri}/{path}: {error}") from error
    return size, digest.hexdigest()


def delete_files(store: Store, paths: Iterable[str], check: Callable[[], None]) -> None:
    """Delete files, several at a time, and the local folders that are empty then.

    Args:
        check: called before each thousand; what it raises ends it.
    """
    folders: set[str] = set()
    waiting = iter(paths)
    with ThreadPoolExecutor(REQUESTS_AT_A_TIME) as pool:
        while batch := list(islice(waiting, BATCH)):
            check()
            for _ in pool.map(store.delete, batch):
                pass
            folders |= {path.rpartition("/")[0] for path in batch}
    if store.is_local:
        for folder in filter(None, folders):
            with contextlib.suppress(OSError):  # something else is in it
                Path(store.full(folder)).rmdir()


def in_threads(store: Store, do: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``do`` of every item, in order, several at a time; no more than a few hundred are held."""
    workers = min(4, os.cpu_count() or 1) if store.is_local else REQUESTS_AT_A_TIME
    waiting = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(waiting, 16 * workers)):
            yield from pool.map(do, batch)


def _local_files(store: Store, folder: str) -> Iterator[StoredFile]:
    folders = [store.full(folder).rstrip("/")]
    start = len(store.full(""))
    while folders:
        try:
            entries = os.scandir(folders.pop())
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a reader that takes no lease may meet a file on its way out
                yield StoredFile(entry.path[start:], found.st_size, found.st_mtime)


def _remote_files(store: Store, folder: str) -> Iterator[StoredFile]:
    store.fs.invalidate_cache()
    start = len(store.full(""))
    for _, _, files in store.fs.walk(store.full(folder).rstrip("/"), detail=True):
        for found in files.values():
            if found["type"] == "file":
                yield StoredFile(found["name"][start:], int(found["size"] or 0), _modified(found))
        store.fs.invalidate_cache()  # fsspec would keep every folder's listing


def _modified(found: dict[str, Any]) -> float:
    """When a remote file was written, by the name that its file system has for it; unknown counts as now."""
    for name in ("LastModified", "mtime", "updated", "last_modified", "created"):
        value = found.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return datetime.now(UTC).timestamp()
