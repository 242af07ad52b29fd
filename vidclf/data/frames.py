"""Reader of stored frames: Parquet with one clip (and variant) per row group, so that one clip is one small read."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from vidclf.data.jpeg import Pixels, fastest
from vidclf.data.ranged import Footers
from vidclf.data.readers import Entry
from vidclf.errors import Removed, StorageError, Unreadable
from vidclf.storage import Store


@dataclass(frozen=True)
class StoredClip:
    """One row of frames, still compressed."""

    clip_id: str
    variant: int  # 0 is the unaltered clip
    frames: pa.Array  # binary, JPEG, in order of time

    def __len__(self) -> int:
        return len(self.frames)

    def decode(self, indices: Sequence[int]) -> Tensor:
        """The frames at ``indices``, each decoded once: uint8 (len(indices), C, H, W), RGB.

        Raises:
            Unreadable: one of them is damaged.
        """
        decode = fastest()
        pictures: dict[int, Pixels] = {}
        for index in set(indices):
            try:
                pictures[index] = decode(self.frames[index].as_buffer())
            except ValueError as error:
                raise Unreadable(f"frame {index} of {self.clip_id} cannot be decoded: {error}") from error
        if len({picture.shape for picture in pictures.values()}) > 1:
            raise Unreadable(f"the frames of {self.clip_id} differ in size")
        return torch.from_numpy(np.stack([pictures[index] for index in indices])).permute(0, 3, 1, 2)


class FrameReader:
    """Reads single clips from a dataset's frame files, of which the last used stay open.

    Travels to other processes without its open files; a forked one opens its own, since a file's position and a
    store's connections are shared otherwise.
    """

    def __init__(self, store: Store, open_files: int = 128):
        self.store = store
        self._capacity = open_files
        self._open: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._footers = Footers()
        self._pid = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "open_files": self._capacity}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @contextmanager
    def open(self, entry: Entry) -> Iterator[StoredClip]:
        """The frames of ``entry``.

        Raises:
            StorageError: they cannot be read, or are another clip's.
        """
        clip = self.read(entry.path, entry.row)
        if (clip.clip_id, clip.variant) != (entry.clip_id, entry.variant):
            raise StorageError(
                f"row group {entry.row} of {entry.path} is {clip.clip_id} variant {clip.variant},"
                f" the manifest says {entry.clip_id} variant {entry.variant}"
            )
        yield clip

    def read(self, path: str, row: int) -> StoredClip:
        """Row group ``row`` of ``path`` (relative to the dataset), by one read once the file is known.

        Raises:
            StorageError: it cannot be read, or is not one clip.
            Removed: the clip was taken out of the dataset; its row is empty.
        """
        try:
            table = self._row_group(path, row)
        except StorageError:
            if self.store.is_local:
                raise
            self._open.pop(path, None)
            self._footers.forget(path)  # a takedown may have written the file anew since
            table = self._row_group(path, row)
        if len(table) != 1:
            raise StorageError(f"row group {row} of {self.store.uri}/{path} is not one clip with frames")
        if len(table["frames"][0].values) == 0:
            clip_id = table["clip_id"][0].as_py()
            raise Removed(f"clip {clip_id} was taken out since this snapshot; train on the latest")
        return StoredClip(table["clip_id"][0].as_py(), table["variant"][0].as_py(), table["frames"][0].values)

    def _row_group(self, path: str, row: int) -> pa.Table:
        try:
            # One thread: parallelism comes from many clips.
            return self._file(path).read_row_group(row, columns=["clip_id", "variant", "frames"], use_threads=False)
        except StorageError:
            raise
        except Exception as error:  # Arrow's, fsspec's and botocore's errors share no base
            raise StorageError(f"cannot read row group {row} of {self.store.uri}/{path}: {error}") from error

    def _file(self, path: str) -> pq.ParquetFile:
        if self._pid != os.getpid():
            self._open, self._pid, self.store = OrderedDict(), os.getpid(), Store(self.store.uri)
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        try:
            if self.store.is_local:  # Arrow's own files, read in this thread, take half the time of Python's
                file = pq.ParquetFile(self.store.full(path))
            else:
                file = self._footers.open(self.store, path)
        except Exception as error:  # as above
            raise StorageError(f"cannot open {self.store.uri}/{path}: {error}") from error
        self._open[path] = file
        if len(self._open) > self._capacity:
            self._open.popitem(last=False)[1].close(force=True)
        return file
