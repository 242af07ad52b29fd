"""The store: a folder or a bucket, behind fsspec. Files appear whole or not at all, and are written once.

Two things need more than fsspec offers everywhere, and are done here for folders and for S3: creating an object only
if it is not there, and replacing one only if it is still the one that was read (compare-and-swap).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from vidclf.errors import StorageError

REQUESTS_AT_A_TIME = 16  # to a store over the network
CONFLICTS = 5  # tries of a conditional write that S3 answers with "conflict, try again"

Value = TypeVar("Value")

_log = logging.getLogger(__name__)
_without_conditions: set[str] = set()  # buckets that answered that they know no conditional writes


class Store:
    """A root URI (folder, ``s3://bucket/prefix``, any fsspec URI) and the operations that the data contract needs.

    Paths are relative to the root, with ``/``. S3 takes the standard AWS variables and ``AWS_ENDPOINT_URL``.

    Raises:
        StorageError: from every method, with the path and the cause.
    """

    def __init__(self, uri: str | os.PathLike[str]):
        self.uri = absolute_uri(str(uri).rstrip("/") or "/")
        self._opened: tuple[fsspec.AbstractFileSystem, str] | None = None

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def __getstate__(self) -> str:
        return self.uri  # connections do not travel; every process opens its own

    def __setstate__(self, uri: str) -> None:
        self.__init__(uri)  # type: ignore[misc]

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        return self._open()[0]

    @property
    def root(self) -> str:
        return self._open()[1]

    def _open(self) -> tuple[fsspec.AbstractFileSystem, str]:
        if self._opened is None:
            try:
                options = _s3_options() if self.uri.startswith(("s3://", "s3a://")) else {}
                fs, root = fsspec.core.url_to_fs(self.uri, **options)
            except (ImportError, ValueError, OSError) as error:
                raise StorageError(f"store {self.uri}: {error}") from error
            self._opened = fs, root
        return self._opened

    @property
    def is_local(self) -> bool:
        protocol = self.fs.protocol
        return "file" in (protocol if isinstance(protocol, (tuple, list)) else (protocol,))

    def at(self, path: str) -> Store:
        """The store whose root is ``path`` here."""
        return Store(f"{self.uri}/{path}")

    def full(self, path: str) -> str:
        """``path`` as the file system wants it (an absolute local path, or bucket/key)."""
        return f"{self.root.rstrip('/')}/{path}"

    def exists(self, path: str) -> bool:
        with self._explained("look for", path):
            self.fs.invalidate_cache()
            return bool(self.fs.exists(self.full(path)))

    def is_file(self, path: str) -> bool:
        """Whether a file is there; a store that cannot be asked raises, instead of seeming empty."""
        with self._explained("look for", path):
            try:
                return bool(self.fs.info(self.full(path))["type"] == "file")
            except (FileNotFoundError, NotADirectoryError):
                return False

    def files(self, folder: str, suffix: str = "") -> list[str]:
        """Paths of the files right in ``folder``, sorted; none where the folder is not there."""
        with self._explained("list", folder):
            self.fs.invalidate_cache()
            try:
                entries = self.fs.ls(self.full(folder), detail=True)
            except FileNotFoundError:
                return []
            names = [entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file"]
            return sorted(f"{folder}/{name}" for name in names if name.endswith(suffix) and not name.startswith("."))

    def files_below(self, folder: str, suffix: str = "") -> list[str]:
        """Paths of all files in ``folder`` and the folders in it, sorted; none where it is not there."""
        with self._explained("list", folder):
            self.fs.invalidate_cache()
            try:
                names = self.fs.find(self.full(folder))
            except FileNotFoundError:
                return []
            start = len(self.full(""))
            paths = (name[start:] for name in names)
            return sorted(
                path for path in paths if path.endswith(suffix) and not path.rpartition("/")[2].startswith(".")
            )

    def read_bytes(self, path: str) -> bytes:
        with self._explained("read", path):
            return cast(bytes, self.fs.cat_file(self.full(path)))

    def read_json(self, path: str) -> Any:
        return json.loads(self.read_bytes(path))

    def read_table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        """A whole Parquet file.

        Not by ``pq.read_table``: its dataset scanner, on a Python file and from several threads, aborted the process.
        """
        data = pa.BufferReader(self.read_bytes(path))
        with self._explained("read", path):
            return pq.ParquetFile(data).read(columns, use_threads=False)

    def read_tables(self, paths: Sequence[str], columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Whole Parquet files, in order; several at a time where each is a request over the network."""
        yield from self._several(lambda path: self.read_table(path, columns), paths)

    def read_tables_left(self, paths: Sequence[str], columns: list[str] | None = None) -> Iterator[pa.Table | None]:
        """As ``read_tables``; None for a file that is not there any more."""

        def read(path: str) -> pa.Table | None:
            try:
                return self.read_table(path, columns)
            except StorageError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    return None
                raise

        yield from self._several(read, paths)

    def _several(self, read: Callable[[str], Value], paths: Sequence[str]) -> Iterator[Value]:
        if self.is_local:
            yield from map(read, paths)
            return
        with ThreadPoolExecutor(REQUESTS_AT_A_TIME) as pool:
            for begin in range(0, len(paths), 8 * REQUESTS_AT_A_TIME):  # what is read ahead stays small
                yield from pool.map(read, paths[begin : begin + 8 * REQUESTS_AT_A_TIME])

    def read_row_group(self, path: str, row: int) -> pa.Table:
        """One row group of a Parquet file, by a ranged read."""
        with self._explained("read", path), self.fs.open(self.full(path), "rb") as file:
            return pq.ParquetFile(file).read_row_group(row)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file whole: a reader sees all of it or nothing."""
        with self._explained("write", path):
            if not self.is_local:
                self.fs.pipe_file(self.full(path), data)
                return
            with self._replacing(path) as temporary:
                temporary.write_bytes(data)

    def write_json(self, path: str, value: Any) -> None:
        self.write_bytes(path, _json_bytes(value))

    def write_table(self, path: str, table: pa.Table, **options: Any) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, **options)
        self.write_bytes(path, sink.getvalue().to_pybytes())

    def put_file(self, local: Path, path: str) -> None:
        """Move a finished local file into the store, whole."""
        with self._explained("write", path):
            if not self.is_local:
                self.fs.put_file(str(local), self.full(path))
                local.unlink()
                return
            with self._replacing(path) as temporary:
                shutil.move(local, temporary)

    def get_file(self, path: str, local: Path) -> None:
        with self._explained("fetch", path):
            self.fs.get_file(self.full(path), str(local))

    @contextlib.contextmanager
    def local_copy(self, path: str, scratch: Path) -> Iterator[Path]:
        """A local path with the file's content, for programs that need one; a copy only where the store is remote."""
        if self.is_local:
            full = Path(self.full(path))
            if not full.is_file():
                raise StorageError(f"{self.uri}/{path} is not there any more")
            yield full
            return
        local = scratch / f"{uuid.uuid4().hex}-{path.rsplit('/', 1)[-1]}"
        try:
            self.get_file(path, local)
            yield local
        finally:
            local.unlink(missing_ok=True)

    def delete(self, path: str) -> None:
        """Remove a file; nothing happens where it is not there."""
        with self._explained("delete", path), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.full(path))

    def delete_folder(self, path: str) -> None:
        """Remove a folder and all in it; nothing happens where it is not there."""
        with self._explained("delete", path), contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.full(path), recursive=True)

    def create(self, path: str, data: bytes) -> bool:
        """Write ``path`` if it is not there. False: somebody else was first, nothing changed."""
        with self._explained("create", path):
            if not self.is_local:
                return self._put_if(path, data, None)
            with self._temporary(path) as temporary:
                temporary.write_bytes(data)
                try:
                    os.link(temporary, self.full(path))
                except FileExistsError:
                    return False
                return True

    def read_versioned(self, path: str) -> tuple[bytes, str] | None:
        """The content and its version for ``replace``; None where there is no such file."""
        with self._explained("read", path):
            self.fs.invalidate_cache()
            try:
                if self.is_local:
                    data = Path(self.full(path)).read_bytes()
                    return data, hashlib.sha256(data).hexdigest()
                info = self.fs.info(self.full(path))
                return cast(bytes, self.fs.cat_file(self.full(path))), str(info.get("ETag", ""))
            except FileNotFoundError:
                return None

    def replace(self, path: str, data: bytes, version: str | None) -> bool:
        """Replace ``path`` if its version is still ``version`` (None: it is not there). False: it is not."""
        if version is None:
            return self.create(path, data)
        with self._explained("replace", path):
            if self.is_local:
                with self._locked(path):
                    current = self.read_versioned(path)
                    if current is None or current[1] != version:
                        return False
                    self.write_bytes(path, data)
                    return True
            return self._put_if(path, data, version)

    def _put_if(self, path: str, data: bytes, version: str | None) -> bool:
        """Write an object if its version is ``version`` (None: it is not there), by S3's conditional writes."""
        if _bucket_of(self.uri) in _without_conditions:
            return self._put_after_a_look(path, data, version)
        condition = {"mode": "create"} if version is None else {"IfMatch": version}
        for _ in range(CONFLICTS):
            try:
                self.fs.pipe_file(self.full(path), data, **condition)
            except FileNotFoundError:
                if version is None:
                    raise  # the bucket
                return False
            except OSError as error:
                status, code = _answer(error)
                if status == 412 or code == "PreconditionFailed":
                    return self._holds(path, data)  # a write whose answer was lost is repeated, and refuses itself
                if status == 501 or code == "NotImplemented":
                    _without_conditions.add(_bucket_of(self.uri))
                    _log.warning(
                        "%s does not offer conditional writes: of two that write in the same moment both may win",
                        _bucket_of(self.uri),
                    )
                    return self._put_after_a_look(path, data, version)
                if code != "ConditionalRequestConflict":
                    raise
            else:
                return True
        return False  # others write all the time

    def _put_after_a_look(self, path: str, data: bytes, version: str | None) -> bool:
        """As ``_put_if``, without a guarantee: who is overtaken between look and write is told only by reading again."""
        found = self.read_versioned(path)
        if (None if found is None else found[1]) != version:
            return False
        self.fs.pipe_file(self.full(path), data)
        return self._holds(path, data)

    def _holds(self, path: str, data: bytes) -> bool:
        found = self.read_versioned(path)
        return found is not None and found[0] == data

    def check_writable(self) -> None:
        """Prove that files can be written, before hours of work depend on it.

        Raises:
            StorageError: the store cannot be written.
        """
        probe = f".write-check-{uuid.uuid4().hex}"
        try:
            self.write_bytes(probe, b"")
            self.delete(probe)
        except StorageError as error:
            raise StorageError(f"{self.uri} cannot be written: {_cause(error)}") from error

    @contextlib.contextmanager
    def _temporary(self, path: str) -> Iterator[Path]:
        full = Path(self.full(path))
        full.parent.mkdir(parents=True, exist_ok=True)
        temporary = full.with_name(f".{full.name[:120]}.{uuid.uuid4().hex}")
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _replacing(self, path: str) -> Iterator[Path]:
        with self._temporary(path) as temporary:
            yield temporary
            os.replace(temporary, self.full(path))

    @contextlib.contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        """Keep other processes of this machine (or of an NFS mount with locks) off ``path``; a dead one's lock is gone."""
        full = Path(self.full(path))
        with open(full.with_name(f".{full.name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _explained(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except Exception as error:  # botocore's errors share no base with OSError
            raise StorageError(f"cannot {verb} {self.uri}/{path}: {_text(error)}") from error


def _s3_options() -> dict[str, Any]:
    """No read-ahead, since rows are read by range; the address is named, since fsspec shares connections by options."""
    return {"default_cache_type": "none", "endpoint_url": os.environ.get("AWS_ENDPOINT_URL")}


def _text(error: BaseException) -> str:
    """What happened, in words: the operating system's where there are some."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__)


def _cause(error: BaseException) -> str:
    return _text(error.__cause__ or error)


def absolute_uri(uri: str) -> str:
    """A local path made absolute, since other processes have other working folders; a URI as it is."""
    return uri if "://" in uri else os.path.abspath(uri)


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _answer(error: OSError) -> tuple[int | None, str | None]:
    """The HTTP status and the code of S3's answer behind s3fs's error; stores word their messages as they like."""
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode"), response.get("Error", {}).get("Code")


def _bucket_of(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0]} at {os.environ.get('AWS_ENDPOINT_URL', 'AWS')}"
