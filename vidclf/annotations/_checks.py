"""What a person should know of a list before hours of work depend on it: leaks, duplicates, conflicts, nonsense."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidclf.annotations._clips import clip_numbers, numbered, repeated_rows
from vidclf.annotations._rows import counted, shown


def notices_about(rows: pa.Table) -> list[str]:
    """One sentence for each thing that is odd, with a count and the first example. The rows stay as they are."""
    nonsense = rows.filter(pc.is_valid(rows["problem"]))
    sane = rows.filter(pc.is_null(rows["problem"]))
    notices = []
    if len(nonsense):
        first = f"{shown(nonsense['source_id'][0])}: {nonsense['problem'][0]}"
        notices.append(f"nonsense: {counted(len(nonsense), 'row')} of {len(rows):,} will fail, first {first}")
    leaks = [_leak(sane, "source_id", "source"), _leak(sane.filter(pc.is_valid(sane["group"])), "group", "group")]
    return notices + [leak for leak in leaks if leak] + _repetitions(sane)


def _leak(rows: pa.Table, column: str, name: str) -> str | None:
    """Sources, or groups, with rows in two splits."""
    values, splits = numbered(rows[column]), numbered(rows["split"])
    in_splits = np.unique(values * 4 + splits) // 4  # there are three splits
    torn = np.unique(in_splits[1:][np.diff(in_splits) == 0])
    if not len(torn):
        return None
    of_first = np.flatnonzero(values == torn[0])  # numbers are in order of appearance, so it is the first of the list
    where = " and ".join(dict.fromkeys(rows["split"].take(pa.array(of_first)).to_pylist()))
    what = f"{name}s stand" if len(torn) > 1 else f"{name} stands"
    example = shown(rows[column][int(of_first[0])], 80)
    return f"leak: {len(torn):,} {what} in more than one split, first {example} in {where}"


def _repetitions(rows: pa.Table) -> list[str]:
    """Rows about a clip that an earlier row has: the same again, or another label or split."""
    clips = clip_numbers(rows)
    again = np.flatnonzero(repeated_rows(clips))
    if not len(again):
        return []
    labels, splits = numbered(rows["label"]), numbered(rows["split"])
    first = clips[again]
    differs = (labels[again] != labels[first]) | (splits[again] != splits[first])
    notices = []
    if (~differs).any():
        row = rows.slice(int(again[~differs][0]), 1).to_pylist()[0]
        notices.append(
            f"duplicates: {counted(int((~differs).sum()), 'row')} with an earlier row's clip, label and split, first {_clip(row)}"
        )
    if differs.any():
        at = np.flatnonzero(differs)[0]
        row, used = (rows.slice(int(index), 1).to_pylist()[0] for index in (again[at], first[at]))
        notices.append(
            f"conflicts: {counted(int(differs.sum()), 'row')} with an earlier row's clip, but another label or split, first {_clip(row)}: "
            f"{_what(row)}, and before {_what(used)}; the first one counts"
        )
    return notices


def _clip(row: dict[str, object]) -> str:
    times = "" if row["time_start"] is None else f" from {row['time_start']:g} to {row['time_end']:g} s"
    return shown(row["source_id"], 80) + times


def _what(row: dict[str, object]) -> str:
    return f"{'no label' if row['label'] is None else shown(row['label'])} in {row['split']}"
