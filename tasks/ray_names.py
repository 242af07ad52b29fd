"""A set of names that many jobs need: put into Ray's object store once, instead of into every job.

No Prefect in here, since workers import it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

import numpy as np
import ray


class SharedNames(Container[str]):
    """ASCII names. Travels as a reference; the processes of a node read one copy, in place.

    Half a million Kinetics names are 16 MB: as a ``frozenset`` in each of 700 jobs they would be 10 GB.
    """

    def __init__(self, names: Iterable[str]):
        self._reference = ray.put(np.array(sorted(name.encode("ascii") for name in names), dtype=bytes))

    def __contains__(self, name: object) -> bool:
        names, wanted = ray.get(self._reference), str(name).encode()
        position = int(np.searchsorted(names, wanted))
        return position < len(names) and bool(names[position] == wanted)
