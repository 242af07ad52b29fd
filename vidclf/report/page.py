"""The page: numbers, charts and media through one template. One file, no script, nothing from elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from jinja2 import Environment

from vidclf.report import words
from vidclf.report.accounts import STAGES, Accounts, read_accounts
from vidclf.report.draw import charts
from vidclf.report.gather import UNLABELLED, choose_clips, gather, remedies
from vidclf.report.media import Gallery, collect
from vidclf.report.pages import environment, render
from vidclf.snapshot import Snapshot
from vidclf.storage import Store
from vidclf.takedown import removed_ids

LONGEST_REMARK = 500  # characters about what was left out


def write_report(
    store: Store,
    snapshot: Snapshot,
    *,
    notices: Sequence[str] = (),
    clips_per_class: int = 2,
    max_bytes: int = 64_000_000,
    accounts: Accounts | None = None,
) -> bytes:
    """The report of a snapshot as one HTML file, UTF-8. The same wherever the dataset lies.

    Args:
        store: the dataset's.
        notices: sentences about the annotations: near misses, leaks.
        clips_per_class: clips of each label to look at; 0: none.
        max_bytes: of the page. Pictures and videos that do not fit are left out, and it says so; the numbers are always
            there (about 1 MB for 700 classes).
        accounts: what the ledger says, where it has been read already.

    Raises:
        StorageError: the ledger cannot be read. A clip that cannot is a note on the page.
    """
    facts = gather(snapshot, accounts or read_accounts(store, snapshot))
    known = {
        "dataset": store.uri.rsplit("/", 1)[-1],
        "snapshot": snapshot,
        "settings": _settings(snapshot.made_by),
        "facts": facts,
        "most": max((label.total.all for label in facts.labels if label.label != UNLABELLED), default=0),
        "remedies": remedies(facts.kinds),
        "charts": charts(facts.made),
        "notices": notices,
        "stages": list(STAGES),
        "unlabelled": UNLABELLED,
        "clips_per_class": clips_per_class,
        "max_bytes": max_bytes,
    }
    room = max_bytes - len(_render(known, Gallery())) - LONGEST_REMARK
    chosen = choose_clips(snapshot, clips_per_class, removed_ids(store))
    return _render(known, collect(store, chosen, room))


def _render(known: dict[str, Any], gallery: Gallery) -> bytes:
    return render(_environment(), "report.html", {**known, "gallery": gallery})


@functools.cache
def _environment() -> Environment:
    filters: dict[str, Callable[..., str]] = {
        "percent": words.percent,
        "playing_time": words.playing_time,
        "short": words.showable,
    }
    return environment(["vidclf.report"], filters)


def _settings(made_by: dict[str, Any]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(stage, recipe, [(setting, value)]) of every stage that made the snapshot."""
    recipes = made_by.get("recipes", {})
    stages = [name for name, values in made_by.items() if isinstance(values, dict) and name != "recipes"]
    return [
        (name, recipes.get(name, ""), [(key, _said(value)) for key, value in made_by[name].items()])
        for name in sorted(stages, key=lambda name: ("clips", "frames", "augment", name).index(name))
    ]


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "–" if value is None else str(value)
