"""Numbers and hostile text as people read them."""

from __future__ import annotations

import re

LONGEST = 300  # characters of a text that somebody else wrote

#: control characters, halves of surrogate pairs, and those that turn the direction of the text around them
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def showable(text: str, longest: int = LONGEST) -> str:
    """``text`` without what cannot be shown, and not longer than ``longest``. Not escaped: the page does that."""
    text = _UNSHOWABLE.sub("\ufffd", text[: longest + 1])
    return text if len(text) <= longest else text[: longest - 1] + "…"


def size(number: float) -> str:
    """Bytes, decimal, three digits: ``640 B``, ``1.2 kB``, ``35.4 MB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 999.5 or unit == "TB":
            break
        number /= 1000
    return f"{number:.3g} {unit}" if number < 999.5 else f"{number:,.0f} {unit}"


def compact(number: float) -> str:
    """A count on an axis: ``500``, ``20k``, ``1.5M``."""
    if number < 10_000:
        return f"{number:,.0f}"
    return f"{number / 1e3:g}k" if number < 1e6 else f"{number / 1e6:g}M"


def seconds(number: float) -> str:
    """``0.042 s``, ``2.5 s``, ``12 s``."""
    return f"{number:.3g} s" if number < 100 else f"{number:,.0f} s"


def playing_time(number: float) -> str:
    """Of many clips together: ``48 s``, ``12.9 min``, ``1,788 h``."""
    if number < 120:
        return f"{number:,.0f} s"
    if number < 2 * 3600:
        return f"{number / 60:,.1f} min"
    return f"{number / 3600:,.{1 if number < 360_000 else 0}f} h"


def percent(part: int, whole: int) -> str:
    """``2.4 %``; ``0 %`` and ``100 %`` only where it is exactly that."""
    share = 100 * part / whole if whole else 0.0
    if 0 < part < whole:
        share = min(max(share, 0.1), 99.9)
        return f"{share:.1f} %"
    return f"{share:.0f} %"
