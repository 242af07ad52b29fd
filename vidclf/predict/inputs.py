"""Which videos are meant by a path, a folder, a pattern or a URI, and how each becomes a local file."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import fsspec

from vidclf.errors import ConfigError, StorageError
from vidclf.scratch import scratch_folder
from vidclf.storage import Store

#: Files of a folder that are taken for videos. One that is named itself may be called anything.
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".gif")
_PATTERN = frozenset("*?[")


def find_videos(asked: str) -> list[str]:
    """The videos that ``asked`` means: a file, all of a folder (however deep), or all that fit a pattern.

    Local paths, and URIs of any kind that fsspec knows; of http only single files, since it has no folders.

    Raises:
        ConfigError: there is no such file, or no video in the folder, or nothing fits the pattern.
        StorageError: the place of a URI cannot be reached.
    """
    if asked.startswith(("http://", "https://")):
        return [asked]
    if asked.startswith("file://"):
        asked = unquote(urlsplit(asked).path)
    found = _remote(asked) if "://" in asked else _local(asked)
    if not found:
        raise ConfigError(f"{asked} holds no video ({', '.join(suffix[1:] for suffix in SUFFIXES)})")
    return found


@contextlib.contextmanager
def local_file(video: str) -> Iterator[Path]:
    """The video as a local file, for the length of a ``with`` block; fetched where it is elsewhere.

    Raises:
        ConfigError: there is no such file.
        StorageError: it cannot be fetched.
    """
    if "://" not in video:
        if not os.path.lexists(video):
            raise ConfigError(f"{video} is not a file: nothing is there")
        yield Path(video)
        return
    with scratch_folder() as folder:
        name = Path(unquote(urlsplit(video).path)).name
        local = folder / (re.sub(r"[^\w.-]", "_", name)[-100:] or "video")  # errors name it
        filesystem, path = _opened(video)
        with _explained(video):
            filesystem.get_file(path, str(local))
        yield local


def name_of(video: str) -> str:
    """The file's own name without its suffix, for files that are written about it."""
    path = urlsplit(video).path if "://" in video else video
    return Path(unquote(path)).stem or "video"


def _local(asked: str) -> list[str]:
    if os.path.isdir(asked):
        return sorted(
            os.path.join(folder, name)
            for folder, _, names in os.walk(asked)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        )
    if os.path.lexists(asked):
        return [asked]
    if _PATTERN.isdisjoint(asked):
        raise ConfigError(f"{asked} is not a file: nothing is there")
    found = sorted(path for path in glob.glob(asked, recursive=True) if not os.path.isdir(path))
    if not found:
        raise ConfigError(f"nothing fits the pattern {asked}")
    return found


def _remote(asked: str) -> list[str]:
    filesystem, path = _opened(asked)
    with _explained(asked):
        if filesystem.isfile(path):
            return [asked]
        if filesystem.isdir(path):
            names = [name for name in filesystem.find(path) if name.lower().endswith(SUFFIXES)]
        elif _PATTERN.isdisjoint(path):
            raise ConfigError(f"{asked} is not a file: nothing is there")
        else:
            names = filesystem.glob(path)
            if not names:
                raise ConfigError(f"nothing fits the pattern {asked}")
        return sorted(str(filesystem.unstrip_protocol(name)) for name in names)


def _opened(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URI, and the path in it."""
    if uri.startswith(("http://", "https://")):  # what is behind the last slash may be a question, not a name
        filesystem, path = fsspec.core.url_to_fs(uri)
        return filesystem, str(path)
    store = Store(uri)
    return store.fs, store.root


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except (ConfigError, StorageError):
        raise
    except FileNotFoundError:
        raise ConfigError(f"{uri} is not a file: nothing is there") from None
    except Exception as error:  # botocore's, aiohttp's and fsspec's errors share no base
        raise StorageError(f"{uri} cannot be fetched: {str(error) or type(error).__name__}") from error
