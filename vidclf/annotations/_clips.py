"""Which rows are about the same clip of the same video, as numbers, since a list can have a million rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def milliseconds(seconds: pa.ChunkedArray) -> np.ndarray:
    """int64; -1 where there is no time."""
    return np.asarray(pc.cast(pc.round(pc.multiply(seconds, 1000)), pa.int64()).fill_null(-1))


def numbered(column: pa.ChunkedArray) -> np.ndarray:
    """int64: equal values have equal numbers; -1 for null."""
    return np.asarray(pc.index_in(column, value_set=pc.unique(column.drop_null())).fill_null(-1), np.int64)


def clip_numbers(rows: pa.Table) -> np.ndarray:
    """int64: for each row the first row that has the same source and times; as ``clip_id``, to the millisecond."""
    columns = (milliseconds(rows["time_end"]), milliseconds(rows["time_start"]), numbered(rows["source_id"]))
    order = np.lexsort(columns)  # stable: the rows of a clip stay in their order
    if not len(order):
        return order
    begins = np.any([np.diff(column[order], prepend=column[order[0]] - 1) != 0 for column in columns], axis=0)
    first = np.empty_like(order)
    first[order] = order[begins][np.cumsum(begins) - 1]
    return first


def repeated_rows(clips: np.ndarray) -> np.ndarray:
    """bool: the rows whose clip an earlier row has."""
    return clips != np.arange(len(clips))
