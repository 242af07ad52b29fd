"""The short version of a report, for a Prefect artifact: Markdown in which nothing hostile is more than text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vidclf.report import words
from vidclf.report.accounts import Accounts
from vidclf.report.gather import Count, Facts, gather, remedies
from vidclf.snapshot import Snapshot

LISTED_CLASSES = 1000  # Kinetics has 700
_MARKUP = re.compile(r"([\\`*_\[\]|~@]|:(?=//)|(?<=www)\.)")  # inside a line; with what would become a link by itself


def summary_markdown(snapshot: Snapshot, accounts: Accounts) -> str:
    """Counts by class and split, failures by kind and by source with an example each, and what can be done.

    Args:
        accounts: ``read_accounts`` of the same snapshot.
    """
    facts = gather(snapshot, accounts)
    total = facts.totals
    lines = [
        f"# Snapshot {_text(snapshot.snapshot_id)}",
        "",
        f"{total.annotations:,} annotations: {total.ok:,} ok, {total.failed:,} failed, {total.unlabelled:,} unlabelled. "
        f"{total.clips:,} clips, {words.playing_time(total.seconds)} of video, {words.size(total.bytes)}, "
        f"{total.variants:,} augmented variants.",
        "",
        "## Clips by class and split",
        "",
        *_counts(facts),
    ]
    if facts.kinds:
        lines += ["", "## Failures", "", *_failures(facts), ""]
        lines += [f"- {_text(sentence)}" for sentence in remedies(facts.kinds)]
    return "\n".join(lines) + "\n"


def _counts(facts: Facts) -> list[str]:
    """A cell is ``ok``, or ``ok (failed)`` where any failed."""
    rows = [
        [_text(label.label), *(_cell(label.splits.get(split)) for split in facts.splits), _cell(label.total)]
        for label in facts.labels[:LISTED_CLASSES]
    ]
    total = Count(facts.totals.ok + facts.totals.unlabelled, facts.totals.failed)
    rows.append(["**all**", *(_cell(facts.by_split[split]) for split in facts.splits), _cell(total)])
    header = ["class", *map(_text, facts.splits), "all"]
    table = _table(header, rows, "l" + "r" * (len(header) - 1))
    if len(facts.labels) > LISTED_CLASSES:
        table += ["", f"and {len(facts.labels) - LISTED_CLASSES:,} more classes"]
    return table if not facts.kinds else [*table, "", "In brackets: failed."]


def _failures(facts: Facts) -> list[str]:
    kinds = [
        [
            f"**{_text(kind.kind)}**",
            "open" if kind.is_open else "permanent",
            f"{kind.number:,}",
            _text(kind.example),
            _text(kind.message),
        ]
        for kind in facts.kinds
    ]
    sources = [
        [
            _text(source.source),
            f"{source.count.ok:,}",
            f"{source.count.failed:,}",
            words.percent(source.count.failed, source.count.all),
            _text(", ".join(f"{number:,} {kind}" for kind, number in source.kinds.items())),
            _text(source.example),
            _text(source.message),
        ]
        for source in facts.sources
    ]
    by_source = _table(["source", "ok", "failed", "share", "kinds", "for example", "message"], sources, "lrrrlll")
    return [*_table(["kind", "state", "failed", "for example", "message"], kinds, "llrll"), "", *by_source]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> list[str]:
    marks = {"l": "---", "r": "---:"}
    lines = [header, [marks[side] for side in align], *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _cell(count: Count | None) -> str:
    if count is None:
        return ""
    return f"{count.ok:,}" + (f" ({count.failed:,})" if count.failed else "")


def _text(text: str) -> str:
    """Somebody else's text, on one line, as text: no HTML, no link, no other cell of the table."""
    flat = " ".join(words.showable(text).split())
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", escaped)
