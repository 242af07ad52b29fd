"""Tars read as streams, plain or gzipped, from anywhere, and without trust.

What a tar writes about itself is hostile: names that climb, links, devices, sparse files, sizes and headers that would
fill memory or disk. And its end must be proven: the standard library takes a damaged header, or a file that was cut at
the right place, for the end of the archive.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from vidclf.errors import Gone, SourceError, StorageError, Unreachable
from vidclf.redaction import scrubbed, shown
from vidclf.sources._http import Body, head, opened
from vidclf.storage import Store

GZIP = b"\x1f\x8b"
READ_AHEAD = 1 << 20  # bytes per read of the network
CHUNK = 1 << 18  # bytes per read of a member
MAX_HEADER = 1 << 20  # bytes of one extended header; a real one has some hundreds
MAX_PADDING = 1 << 20  # bytes after a tar's end; tar pads to 10 KiB


@contextlib.contextmanager
def opened_stream(uri: str, timeout: float) -> Iterator[io.BufferedReader]:
    """Any URI's bytes as a stream, whose end is the file's end or an error.

    Raises:
        Gone, Blocked, Unreachable: opening, and for HTTP reading; other reads raise what their file system does.
    """
    if uri.startswith(("http://", "https://")):
        with opened(uri, timeout) as response, io.BufferedReader(Body(response, uri, timeout), READ_AHEAD) as stream:
            yield cast(io.BufferedReader, stream)
        return
    folder, _, name = uri.rpartition("/")
    try:
        store = Store(folder)
        if not store.is_file(name):
            raise Gone(f"there is no {uri}")
        file = store.fs.open(store.full(name), "rb")
    except (StorageError, OSError) as error:
        raise Unreachable(scrubbed(str(error))) from None
    with file, io.BufferedReader(file, READ_AHEAD) as stream:
        yield stream


def read_head(uri: str, count: int, timeout: float) -> bytes:
    """The first ``count`` bytes of a file, or all where there are fewer, by one ranged read where the host can.

    Raises:
        Gone, Blocked, Unreachable: it could not be read.
    """
    if uri.startswith(("http://", "https://")):
        return head(uri, count, timeout)
    folder, _, name = uri.rpartition("/")
    try:
        store = Store(folder)
        if not store.is_file(name):
            raise Gone(f"there is no {uri}")
        return cast(bytes, store.fs.cat_file(store.full(name), start=0, end=count))
    except (StorageError, OSError) as error:
        raise Unreachable(scrubbed(str(error))) from None


def first_folder(beginning: bytes) -> tuple[str, ...] | None:
    """The folders around the first file of the tar that begins so; empty for a file at the top; None: it cannot be told."""
    try:
        if beginning.startswith(GZIP):
            beginning = zlib.decompressobj(31).decompress(beginning, MAX_HEADER)
        with tarfile.open(fileobj=io.BytesIO(beginning), mode="r:", tarinfo=_Careful) as tar:
            for info in tar:
                if not info.isdir():
                    parts = info.name.split("/")[:-1]
                    return tuple(part for part in parts if part not in ("", "."))
    except (tarfile.TarError, zlib.error, SourceError, ValueError, OSError):
        return None
    return None


class TarStream:
    """The regular files of a tar, in order, each read before the next one."""

    def __init__(self, stream: io.BufferedReader, uri: str):
        self._name = shown(uri) if "://" in uri else uri
        self._plain = _Unpacked(stream, self._name)
        self._tar: tarfile.TarFile | None = None

    def files(self) -> Iterator[tarfile.TarInfo]:
        """Headers of regular files; of the others nothing is heard.

        Raises:
            Gone: refused for what it declares.
            Unreachable: damaged, or cut short.
        """
        buffered = cast(IO[bytes], io.BufferedReader(self._plain, 1 << 16))
        with contextlib.ExitStack() as stack:
            with self._explained():
                self._tar = stack.enter_context(tarfile.open(fileobj=buffered, mode="r|", tarinfo=_Careful))
            while True:
                with self._explained():
                    info = self._tar.next()
                if info is None:
                    break
                self._tar.members.clear()  # type: ignore[attr-defined]  # or it remembers every one of them
                if info.isreg() and not info.issparse():
                    yield info
        self._expect_end(buffered)

    def save(self, info: tarfile.TarInfo, to: Path) -> None:
        """Write the file that ``files`` just named to ``to``, whole or not at all.

        Raises:
            Unreachable: damaged, or cut short.
            OSError: ``to`` cannot be written.
        """
        assert self._tar is not None
        part = to.with_name(f".{to.name}.part")
        try:
            with part.open("wb") as file:
                member = self._tar.extractfile(info)
                assert member is not None  # regular
                size = 0
                while True:
                    with self._explained():
                        chunk = member.read(CHUNK)
                    if not chunk:
                        break
                    size += len(chunk)
                    file.write(chunk)
            if size != info.size:
                raise Unreachable(f"{self._name}: cut short within {info.name[:80]!r}")
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (tarfile.TarError, ValueError) as error:
            raise Unreachable(f"{self._name}: damaged or cut short: {error}") from None

    def _expect_end(self, buffered: IO[bytes]) -> None:
        """After the last header: zeros to the very end, whose checksum gzip then compares."""
        padding = 0
        while chunk := buffered.read(1 << 16):
            padding += len(chunk)
            if chunk.strip(b"\0") or padding > MAX_PADDING:
                raise Unreachable(f"{self._name}: damaged: something follows what looks like the end of the tar")
        if self._plain.tail.strip(b"\0"):
            raise Unreachable(f"{self._name}: cut short, the end of the tar is missing")


class _Unpacked(io.RawIOBase):
    """A stream's bytes, unpacked where they are gzipped (some tars of the mirrors are named .gz and are not)."""

    def __init__(self, stream: io.BufferedReader, name: str):
        self._stream, self._name = stream, name
        self._file: IO[bytes] | gzip.GzipFile | None = None
        self.tail = b""  # the last bytes that were read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            if self._file is None:
                packed = self._stream.peek(2)[:2] == GZIP
                self._file = gzip.GzipFile(fileobj=self._stream) if packed else self._stream
            data = self._file.read(len(buffer))
        except SourceError:
            raise
        except Exception as error:  # of gzip, or of any file system: botocore's errors share no base
            text = scrubbed(str(error) or type(error).__name__)
            raise Unreachable(f"{self._name}: damaged or cut short: {text[:300]}") from error
        buffer[: len(data)] = data
        if data:
            self.tail = (self.tail + data)[-tarfile.BLOCKSIZE :] if len(data) < tarfile.BLOCKSIZE else data[-512:]
        return len(data)


class _Careful(tarfile.TarInfo):
    """A header that is refused before the standard library reads into memory what it announces."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type not in tarfile.SUPPORTED_TYPES and self.size > MAX_HEADER):
            raise Gone(f"refused: a header of the tar declares {self.size:,} bytes")
        if self.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE) and self.size > MAX_HEADER:
            raise Gone(f"refused: a header of the tar declares {self.size:,} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise Gone("refused: the tar holds a sparse file")
        return cast(tarfile.TarInfo, super()._proc_member(tar))  # type: ignore[misc]

    def _proc_gnusparse_10(self, *args: Any) -> None:
        raise Gone("refused: the tar holds a sparse file")
