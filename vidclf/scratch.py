"""Folders for what is needed while one thing is worked on. What killed processes left is removed by the next one.

They hold whole videos, and nobody else comes by on a cluster's other machines. Whoever works in a folder holds a lock on
it, which the kernel takes back when the process is gone, however it went: a folder that can be locked is nobody's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vidclf.errors import StorageError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
EXHAUSTED = {*NO_ROOM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def exhausted(error: BaseException) -> StorageError | None:
    """``error`` as the machine's own trouble (its disk is full, say), where it is that, or was caused by that."""
    cause: BaseException | None = error
    while cause is not None:
        # PyAV has errors with such numbers for what a file declares
        if isinstance(cause, OSError) and cause.errno in EXHAUSTED and not type(cause).__module__.startswith("av."):
            return out_of(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return None


def out_of(number: int) -> StorageError:
    """What to say of an ``errno`` of ``EXHAUSTED``."""
    what = os.strerror(number)
    if number in NO_ROOM:
        return StorageError(f"{what} in {tempfile.gettempdir()}: free some, or set TMPDIR to another place")
    return StorageError(f"{what}: this machine has not enough for so many workers at a time")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty local folder for the length of a ``with`` block.

    Raises:
        StorageError: there is no place for one.
    """
    folder, lock = _claim()
    try:
        sweep()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed now is swept later
        os.close(lock)


def sweep() -> None:
    """Remove the folders of this user's processes that are gone."""
    root = _root()
    if not root.is_dir() or root.lstat().st_uid != os.getuid():
        return
    for folder in root.iterdir():
        lock = _lock(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)  # a dying child may still write into it
            os.close(lock)


def _root() -> Path:
    return Path(tempfile.gettempdir()) / f"vidclf-scratch-{os.getuid()}"


def _claim() -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock."""
    root = _root()
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        if root.lstat().st_uid != os.getuid():
            raise StorageError(f"{root} belongs to somebody else: have it removed, or set TMPDIR to another folder")
        while True:
            folder = Path(tempfile.mkdtemp(dir=root))
            lock = _lock(folder)
            if lock is not None:  # else somebody swept in this moment
                return folder, lock
    except OSError as error:
        raise StorageError(f"no temporary folder in {root}: {error.strerror}; set TMPDIR to another place") from error


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None: somebody has it, or the folder is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if folder.exists():  # it may have been removed before it was locked
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
