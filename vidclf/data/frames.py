"""Reader of stored frames: Parquet with one clip (and variant) per row group, so that one clip is one small read."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from vidclf.errors import Removed, StorageError
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
        """The frames at ``indices``, each decoded once: uint8 (len(indices), C, H, W), RGB."""
        pictures = {index: _decode(self.frames[index].as_py()) for index in sorted(set(indices))}
        return torch.from_numpy(np.stack([pictures[index] for index in indices])).permute(0, 3, 1, 2)


class FrameReader:
    """Reads single clips from a dataset's frame files, a few of which stay open.

    Travels to other processes without its open files; a forked one opens its own, since a file's position is shared.
    """

    def __init__(self, store: Store, open_files: int = 16):
        self.store = store
        self._capacity = open_files
        self._open: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._pid = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "open_files": self._capacity}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def read(self, path: str, row: int) -> StoredClip:
        """Row group ``row`` of ``path`` (relative to the dataset).

        Raises:
            StorageError: it cannot be read, or is not one clip.
            Removed: the clip was taken out of the dataset; its row is empty.
        """
        try:
            table = self._file(path).read_row_group(row, columns=["clip_id", "variant", "frames"])
        except StorageError:
            raise
        except Exception as error:  # Arrow's, fsspec's and botocore's errors share no base
            raise StorageError(f"cannot read row group {row} of {self.store.uri}/{path}: {error}") from error
        if len(table) != 1:
            raise StorageError(f"row group {row} of {self.store.uri}/{path} is not one clip with frames")
        if len(table["frames"][0].values) == 0:
            clip_id = table["clip_id"][0].as_py()
            raise Removed(f"clip {clip_id} was taken out since this snapshot; train on the latest")
        return StoredClip(table["clip_id"][0].as_py(), table["variant"][0].as_py(), table["frames"][0].values)

    def _file(self, path: str) -> pq.ParquetFile:
        if self._pid != os.getpid():
            self._open, self._pid = OrderedDict(), os.getpid()
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        try:
            file = pq.ParquetFile(self.store.fs.open(self.store.full(path), "rb"), pre_buffer=True)
        except Exception as error:  # as above
            raise StorageError(f"cannot open {self.store.uri}/{path}: {error}") from error
        self._open[path] = file
        if len(self._open) > self._capacity:
            self._open.popitem(last=False)[1].close(force=True)
        return file


def _decode(jpeg: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB"))
