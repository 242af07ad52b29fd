"""Splits drawn for lists that have none, and samples per class: by hashes, so that company and order move little."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidclf.annotations._clips import clip_numbers, milliseconds, repeated_rows
from vidclf.config import AnnotationsConfig, Split
from vidclf.errors import AnnotationError

_ORDER: tuple[Split, ...] = ("val", "test", "train")


def draw_splits(rows: pa.Table, config: AnnotationsConfig) -> tuple[pa.Table, list[str]]:
    """Give each row a split that has none: whole groups, so that each class has the shares of ``split_shares``.

    The groups of a class (its sources, where the layout has no groups) are put in the order of a hash of their names and
    ``seed``; the first are val, the next test, the rest train. So another group moves at most three of its class. Rows
    with a problem become train.
    """
    is_open = pc.and_(pc.is_null(rows["split"]), pc.is_null(rows["problem"]))
    indices = np.flatnonzero(is_open.to_numpy(zero_copy_only=False))
    splits = rows["split"].fill_null("train")
    notices = []
    if len(indices):
        places = np.full(len(rows), -1)
        places[indices] = _drawn(rows.take(pa.array(indices)), config)
        drawn = pc.take(pa.array(_ORDER), pa.array(places, mask=places < 0))
        splits = pc.coalesce(drawn, splits)
    elif config.split_shares != AnnotationsConfig.model_fields["split_shares"].default:
        notices.append("split_shares was not used: the list has splits of its own")
    return rows.set_column(rows.schema.get_field_index("split"), rows.schema.field("split"), splits), notices


def sample_clips(rows: pa.Table, config: AnnotationsConfig) -> tuple[pa.Table, list[str]]:
    """Keep at most ``per_class`` labelled rows of each class and split: those of the smallest hash of clip and ``seed``.

    Rows that have a problem, or repeat another's clip, are taken last. Rows without a label stay.

    Raises:
        AnnotationError: nothing is left.
    """
    if not config.per_class:
        return rows, []
    classes, labels = _codes(rows["label"])
    is_last = np.asarray(pc.is_valid(rows["problem"])) | repeated_rows(clip_numbers(rows))
    keep = np.ones(len(rows), bool)
    notices = []
    for split, number in config.per_class.items():
        indices = np.flatnonzero(np.asarray(pc.equal(rows["split"], split)) & (classes >= 0))
        order = np.lexsort(
            (_hashes(_clip_names(rows.take(pa.array(indices))), config.seed), is_last[indices], classes[indices])
        )
        ranked = indices[order]
        counts = np.bincount(classes[ranked], minlength=len(labels))
        rank = np.arange(len(ranked)) - np.repeat(np.cumsum(counts) - counts, counts)
        keep[ranked[rank >= number]] = False
        notices += _too_small(split, number, counts, labels)
    kept = rows.filter(pa.array(keep))
    if not len(kept):
        raise AnnotationError(f"annotations {config.path}: per_class leaves nothing of {len(rows):,} rows")
    return kept, notices


def _too_small(split: Split, number: int, counts: np.ndarray, labels: list[str]) -> list[str]:
    """Which classes have clips in ``split``, but fewer than ``number``; ``counts`` are by class."""
    few = np.flatnonzero((counts > 0) & (counts < number))
    if not len(few):
        return []
    least = few[np.argmin(counts[few])]
    example = f"{labels[least]!r} with {counts[least]:,}"
    classes = f"1 class has fewer than {number:,} clips in {split}: "
    many = f"{len(few):,} classes have fewer than {number:,} clips in {split}, as "
    return [f"per_class: {classes if len(few) == 1 else many}{example}"]


def _drawn(rows: pa.Table, config: AnnotationsConfig) -> np.ndarray:
    """A split for each row, as its place in ``_ORDER``."""
    # A letter before each, since a group may be named as another's source is.
    own = pc.binary_join_element_wise("s", rows["source_id"], "")
    groups, names = _codes(pc.coalesce(pc.binary_join_element_wise("g", rows["group"], ""), own))
    classes, _ = _codes(rows["label"])
    of_group = _commonest_class(groups, classes)
    order = np.lexsort((_hashes(names, config.seed), of_group))
    places = np.empty(len(names), np.int64)
    for stratum in np.split(order, np.flatnonzero(np.diff(of_group[order])) + 1):
        begin = 0
        for split, number in quotas(len(stratum), config.split_shares).items():
            places[stratum[begin : begin + number]] = _ORDER.index(split)
            begin += number
    return places[groups]


def quotas(number: int, shares: Mapping[Split, float]) -> dict[Split, int]:
    """How many of ``number`` groups of a class go to each split, in the order in which they are taken.

    Each share is rounded; the largest takes what is left, and train gets at least one where it has a share at all.
    """
    given = [split for split in _ORDER if shares.get(split, 0) > 0]
    rest = max(reversed(given), key=lambda split: shares[split])
    first = "train" if "train" in given else rest  # gets its one before anybody else
    left = number - 1
    taken: dict[Split, int] = {}
    for split in given:
        if split != rest:
            wanted = int(np.floor(number * shares[split] + 0.5))
            taken[split] = min(max(wanted, 1), left + 1) if split == first else min(wanted, left)
            left -= taken[split] - (split == first)
    taken[rest] = number - sum(taken.values())
    return taken


def _commonest_class(groups: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The class of each group: that of most of its rows, the first by name where several are."""
    width = int(classes.max(initial=-1)) + 2  # -1 is a class too: that of unlabelled rows
    pairs, counts = np.unique(groups * width + classes + 1, return_counts=True)
    of_group, of_class = pairs // width, pairs % width - 1
    order = np.lexsort((of_class, -counts, of_group))
    firsts = order[np.diff(of_group[order], prepend=-1) != 0]
    return of_class[firsts]  # every group has a row, so they are all here, in order


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Each value's place among the distinct ones in alphabetical order, -1 for null; and the distinct ones."""
    values = pc.unique(column.drop_null()).sort()
    codes = pc.index_in(column, value_set=values).fill_null(-1)
    return np.asarray(codes, np.int64), values.to_pylist()


def _clip_names(rows: pa.Table) -> Iterable[str]:
    times = (milliseconds(rows["time_start"]).tolist(), milliseconds(rows["time_end"]).tolist())
    return (
        f"{source}\0{start}\0{end}" for source, start, end in zip(rows["source_id"].to_pylist(), *times, strict=True)
    )


def _hashes(texts: Iterable[str], seed: int) -> np.ndarray:
    """uint64: a hash of each text and the seed."""
    prefix = f"{seed}\0".encode()
    digests = (hashlib.blake2b(prefix + text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)
