"""The pages: numbers, charts and media through one template each. One file, no script, nothing from elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment

from vidclf.config import ReportingConfig
from vidclf.evaluation.comparison import Comparison, p_value, short
from vidclf.evaluation.report import charts, choose
from vidclf.evaluation.report.choose import Shown
from vidclf.evaluation.summary import caption, missing, numbers
from vidclf.evaluation.verdict import Verdict
from vidclf.report import words
from vidclf.report.gather import ClassClips
from vidclf.report.media import collect
from vidclf.report.pages import environment, render
from vidclf.storage import Store

MOST_CONFUSIONS = 20


def write_report(
    store: Store,
    verdicts: Sequence[Verdict],
    config: ReportingConfig,
    said: str,
    compared: Comparison | None = None,
) -> bytes:
    """One model's evaluation, or several models side by side, as one HTML file, UTF-8.

    Args:
        store: the dataset's, for frames.
        verdicts: the best first.
        config: how much is shown, and how large the page may be.
        said: what the numbers are of.
        compared: the same models as a table with tests between them.
    """
    groups = {verdict.name: choose.mistakes(verdict, config.mistakes) for verdict in verdicts}
    apart: list[Shown] = []
    if len(verdicts) > 1:
        apart = choose.disagreements(verdicts[0], verdicts[1], config.mistakes)
    known = {
        "title": f"{verdicts[0].question.dataset}: {', '.join(verdict.name for verdict in verdicts)}",
        "said": said,
        "compared": compared,
        "scatter": charts.accuracy_and_cost(compared) if compared else None,
        "apart": apart,
        "models": [_model(verdict, groups[verdict.name]) for verdict in verdicts],
        "notices": list(dict.fromkeys(notice for verdict in verdicts for notice in verdict.notices)),
        "most_cells": charts.MOST_CELLS,
        "max_bytes": round(config.max_mb * 1e6),
    }
    room = round(config.max_mb * 1e6) - len(_render("evaluation.html", known))
    shown = [*apart, *(one for group in groups.values() for one in group)]
    _add_media(store, verdicts[0], shown, room, with_videos=False)
    return _render("evaluation.html", known)


def write_gallery(store: Store, verdict: Verdict, config: ReportingConfig, seed: int = 0) -> bytes:
    """Videos that play beside what a model said about them, drawn by ``seed``, as one HTML file, UTF-8."""
    shown = choose.some_videos(verdict, config.gallery, seed)
    known = {
        "title": f"{verdict.question.dataset}: what {verdict.name} said",
        "said": caption(verdict),
        "shown": shown,
        "videos": verdict.evaluation.videos,
        "top1": verdict.evaluation.video_top1,
        "notices": [*missing(verdict.evaluation), *verdict.notices],
        "max_bytes": round(config.max_mb * 1e6),
    }
    room = round(config.max_mb * 1e6) - len(_render("gallery.html", known))
    _add_media(store, verdict, shown, room, with_videos=True)
    return _render("gallery.html", known)


def _model(verdict: Verdict, wrong: list[Shown]) -> dict[str, Any]:
    judged = verdict.evaluation
    has = [
        number for number, row in enumerate(judged.confusion) if sum(row) or any(r[number] for r in judged.confusion)
    ]
    return {
        "verdict": verdict,
        "caption": caption(verdict),
        "numbers": numbers(judged),
        "missing": missing(judged),
        "classes": sorted(judged.per_class.items(), key=lambda item: (item[1].recall is None, item[1].f1)),
        "confusion_classes": [verdict.classes[number] for number in has],
        "cells": charts.cells([[judged.confusion[i][j] for j in has] for i in has])
        if len(has) <= charts.MOST_CELLS
        else [],
        "picture": charts.picture(judged.confusion) if len(has) > charts.MOST_CELLS else "",
        "confusions": choose.confusions(verdict, MOST_CONFUSIONS),
        "reliability": charts.reliability(judged.calibration),
        "mistakes": wrong,
    }


def _add_media(store: Store, verdict: Verdict, shown: Sequence[Shown], room: int, with_videos: bool) -> None:
    """Frames, and videos, of what is shown, as far as there is room; a clip that is shown twice is read once."""
    rows = choose.manifest_rows(verdict, list(dict.fromkeys(one.clip_id for one in shown)))
    hidden = {"num_variants": 0} if with_videos else {"num_variants": 0, "clip_path": None}
    wanted = [ClassClips(clip_id, [row | hidden]) for clip_id, row in rows.items()]
    found = {group.label: group.clips[0] for group in collect(store, wanted, max(0, room)).classes}
    for one in shown:
        one.media = found.get(one.clip_id)


def _render(template: str, known: dict[str, Any]) -> bytes:
    return render(_environment(), template, known)


@functools.cache
def _environment() -> Environment:
    filters = {
        "p_value": p_value,
        "share": lambda share: f"{100 * share:.1f}",
        "interval": short,
        "shown": words.showable,
    }
    return environment(["vidclf.evaluation.report", "vidclf.report"], filters)
