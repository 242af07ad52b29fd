"""Kinetics CSV: label, youtube_id, time_start, time_end, split.

The columns of Kinetics 400, 600, 700 and 700-2020; further ones (``is_cc``) are passed over, and test lists come
without ``label``.
"""

from __future__ import annotations

import csv
import io
import math

from vidclf.annotations import SPLITS
from vidclf.clips import Annotation
from vidclf.errors import AnnotationError
from vidclf.storage import Store

REQUIRED = ("youtube_id", "time_start", "time_end", "split")


def fits(store: Store, name: str) -> bool:
    """Whether the name is a CSV file's; what is in it, ``read`` judges, with a better message."""
    return name.lower().endswith((".csv", ".csv.gz")) and not store.fs.isdir(store.full(name))


def read(store: Store, name: str) -> list[Annotation]:
    """Read the file.

    Raises:
        AnnotationError: columns are missing, or there is no row.
    """
    with store.fs.open(store.full(name), "rb", compression="infer") as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
        reader = csv.DictReader(text)
        columns = [column.strip() for column in reader.fieldnames or []]
        missing = [column for column in REQUIRED if column not in columns]
        if missing:
            raise AnnotationError(
                f"annotations {store.uri}/{name}: column{'s' if len(missing) > 1 else ''} {', '.join(missing)} missing; "
                f"a Kinetics CSV has label,{','.join(REQUIRED)}, and this one {','.join(columns) or 'is empty'}"
            )
        reader.fieldnames = columns
        annotations = [_annotation(row, number) for number, row in enumerate(reader)]
    if not annotations:
        raise AnnotationError(f"annotations {store.uri}/{name}: there is no row below the header")
    return annotations


def _annotation(row: dict[str, str | None], number: int) -> Annotation:
    problems = []
    source_id = (row["youtube_id"] or "").strip()
    if not source_id:
        problems.append("no youtube_id")
    split = SPLITS.get((row["split"] or "").strip().lower())
    if split is None:
        problems.append(f"split {row['split']!r} is none of train, validate, test")
    start, end = _seconds(row["time_start"]), _seconds(row["time_end"])
    if start is None or end is None:
        problems.append(f"times {row['time_start']!r} to {row['time_end']!r} are no seconds")
        start = end = None
    elif start >= end:
        problems.append(f"time_end {end:g} is not after time_start {start:g}")
    return Annotation(
        source_id or f"row-{number}",
        (row.get("label") or "").strip() or None,
        split or "train",
        start,
        end,
        number,
        "; ".join(problems) or None,
    )


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float((text or "").strip())
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds < 1e6 else None
