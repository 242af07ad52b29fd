"""Parquet files of a remote store, of which each is asked for its size and its footer once."""

from __future__ import annotations

import io
import zlib
from collections import OrderedDict
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from vidclf.storage import Store


class RangedFile(io.RawIOBase):
    """A remote file whose every read is one ranged request, and nothing else is."""

    def __init__(self, store: Store, path: str, size: int):
        self._fs, self._full, self._size, self._position = store.fs, store.full(path), size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._size, self._position + size)
        if end <= self._position:
            return b""
        content: bytes = self._fs.cat_file(self._full, start=self._position, end=end)
        self._position += len(content)
        return content


@dataclass(frozen=True)
class _Footer:
    size: int  # of the whole file, bytes
    packed: bytes  # zlib: a part of 32 clips takes 3 kB instead of 18


class Footers:
    """Opens Parquet files of a remote store; knows the footers of the last used ones.

    Clips are read in random order from thousands of files, far more than can stay open: without this, each would cost
    three requests, one after another, instead of one.

    Args:
        capacity: files whose footers are kept; Kinetics-700 has some 20,000, at 3 kB each.
    """

    def __init__(self, capacity: int = 32_768):
        self._capacity = capacity
        self._known: OrderedDict[str, _Footer] = OrderedDict()

    def open(self, store: Store, path: str) -> pq.ParquetFile:
        """The file, of which one row group is one request."""
        footer = self._known.get(path)
        if footer is not None:
            self._known.move_to_end(path)
            metadata = pq.read_metadata(pa.BufferReader(zlib.decompress(footer.packed)))
            return pq.ParquetFile(RangedFile(store, path, footer.size), metadata=metadata, pre_buffer=True)
        size = int(store.fs.size(store.full(path)))
        file = pq.ParquetFile(RangedFile(store, path, size), pre_buffer=True)
        sink = pa.BufferOutputStream()
        file.metadata.write_metadata_file(sink)
        self._known[path] = _Footer(size, zlib.compress(sink.getvalue(), level=1))
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return file

    def forget(self, path: str) -> None:
        """Ask for its size and its footer again."""
        self._known.pop(path, None)
