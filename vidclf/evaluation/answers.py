"""What a model said about each video, as a table that people and spreadsheets read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.csv

from vidclf.evaluation.metrics import Tally, arrays, ranking


def answers_table(
    rows: pa.Table, counted: Tally, classes: Sequence[str], ends: Mapping[str, str], top_k: int
) -> pa.Table:
    """One row per annotated video: id, truth, status, ``pred_1…k``, ``score_1…k``; nulls where it was not scored.

    Args:
        rows: of the manifest, as ``vidclf.evaluation.coverage.annotated`` gives them.
        counted: the predictions.
        classes: of the model.
        ends: clip_id → "ok", or why it was not scored.
        top_k: labels per video; fewer where there are fewer classes.
    """
    top_k = min(top_k, len(classes))
    place = {clip_id: number for number, clip_id in enumerate(counted.videos["clip_id"].to_pylist())}
    ids = rows["clip_id"].to_pylist()
    scored = np.array([clip_id in place for clip_id in ids], dtype=bool)
    at = np.array([place.get(clip_id, 0) for clip_id in ids], dtype=np.int64)
    columns = {
        "id": pa.array(ids, pa.string()),
        "truth": rows["label"].combine_chunks(),
        "status": pa.array(["ok" if clip_id in place else ends.get(clip_id, "not_scored") for clip_id in ids]),
    }
    names = np.array(classes, dtype=object)
    probabilities = arrays(counted.videos)[0] if place else np.zeros((1, len(classes)), np.float32)
    best = ranking(probabilities)[at, :top_k]
    scores = np.take_along_axis(probabilities[at], best, axis=1)
    for rank in range(top_k):
        columns[f"pred_{rank + 1}"] = pa.array(names[best[:, rank]], pa.string(), mask=~scored)
    for rank in range(top_k):
        columns[f"score_{rank + 1}"] = pa.array(scores[:, rank], pa.float32(), mask=~scored)
    return pa.table(columns)


def as_csv(table: pa.Table) -> bytes:
    """The same as CSV, UTF-8 with a header."""
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
