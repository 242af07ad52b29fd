"""Which archives may hold the clips of a class, as far as the folders in them say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath


def that_may_hold(labels: Collection[str], split: str, folders: Mapping[str, tuple[str, ...] | None]) -> list[str]:
    """Of archives, by URI, those that may hold a clip of these classes, as far as the folders of their first files say.

    Left out are only archives whose folder is a class, and not one that is wanted: a folder of its own, that is neither
    the split's nor the archive's name, in a split where some folders *are* wanted classes.
    """
    wanted = {_comparable(label) for label in labels}
    holds = {uri: any(_comparable(part) in wanted for part in parts or ()) for uri, parts in folders.items()}
    if not any(holds.values()):
        return list(folders)
    uses = Counter(parts[0] for parts in folders.values() if parts)

    def is_class(uri: str, parts: tuple[str, ...] | None) -> bool:
        stem = PurePosixPath(uri).name.partition(".")[0]
        return bool(parts) and uses[parts[0]] == 1 and parts[0] not in (split, stem)  # type: ignore[index]

    return [uri for uri, parts in folders.items() if holds[uri] or not is_class(uri, parts)]


def _comparable(label: str) -> str:
    """Mirrors write a class as a folder with underscores, or in another case."""
    return label.replace("_", " ").strip().casefold()
