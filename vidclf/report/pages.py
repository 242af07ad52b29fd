"""What every page has in common: its environment of templates, and text that is safe to show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vidclf.report import words

LONGEST_SENTENCE = 4000  # characters; one of the page's own, or a notice


def environment(packages: Iterable[str], filters: Mapping[str, Callable[..., str]]) -> Environment:
    """Templates of the first of ``packages`` that has them, and the filters of all pages beside ``filters``."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    made.filters |= {"number": lambda number: f"{number:,}", "size": words.size, **filters}
    return made


def render(pages: Environment, template: str, known: dict[str, Any]) -> bytes:
    """A page, UTF-8."""
    pieces: Iterable[str] = pages.get_template(template).generate(**known)
    return b"".join(piece.encode() for piece in pieces)


def _finalized(value: Any) -> Any:
    """Every text that the template shows passes here, before it is escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return words.showable(value, LONGEST_SENTENCE)
    return value
