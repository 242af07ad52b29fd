"""What a check says, and how all of them are asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

SECONDS = 20.0  # for a check; what it asks has shorter limits of its own


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"  # works, but something is missing or scarce
    WRONG = "wrong"  # something will fail


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do about it where it is not well."""

    name: str
    state: State
    found: str
    remedy: str = ""


Check = Callable[[], "Finding | list[Finding]"]


def ok(name: str, found: str) -> Finding:
    return Finding(name, State.OK, found)


def note(name: str, found: str, remedy: str) -> Finding:
    return Finding(name, State.NOTE, found, remedy)


def wrong(name: str, found: str, remedy: str) -> Finding:
    return Finding(name, State.WRONG, found, remedy)


def diagnose(checks: Iterable[Check], seconds: float = SECONDS) -> Iterator[Finding]:
    """What each check finds, in their order; all are asked at once. One that fails or hangs is a finding of its own."""
    asked = [_Asked(check) for check in checks]
    for one in asked:
        yield from one.answer(seconds)


class _Asked:
    def __init__(self, check: Check):
        self._name = check.__name__.replace("_", " ")
        self._check = check
        self._findings: list[Finding] = []
        self._thread = threading.Thread(target=self._ask, name=self._name, daemon=True)  # a hung one ends with us
        self._thread.start()

    def answer(self, seconds: float) -> list[Finding]:
        self._thread.join(seconds)
        if self._thread.is_alive():
            return [wrong(self._name, f"the check takes longer than {seconds:g} s", "see what it waits for")]
        return self._findings

    def _ask(self) -> None:
        try:
            found = self._check()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was found
            found = wrong(self._name, f"{type(error).__name__}: {error}", "tell us: a check should not fail")
        self._findings = found if isinstance(found, list) else [found]
