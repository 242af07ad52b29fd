"""Tensors' memory on a CPU, kept by the process from one layer to the next.

glibc gives a block of more than 32 MiB back to the system when it is freed and asks for it anew a moment later, and the
kernel clears every page of it again: up to half of the time of a forward pass (``benchmarks/LOG.md``). What is set here
is in mallopt(3). Where there is no glibc, nothing is changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

#: For a process that is to be started. One arena for all its threads: others than the first have no room for such blocks.
ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
}

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # malloc.h
#: What glibc's own rule comes to after blocks of that size: the most that it may be, and twice that; mallopt(3).
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_glibc = _libc if hasattr(_libc, "mallopt") else None


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep what this process's main thread frees for the length of a ``with`` block, and give it back then."""
    if _glibc is not None:
        _glibc.mallopt(_MMAP_MAX, 0)
        _glibc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        if _glibc is not None:
            for number, value in _USUAL.items():
                _glibc.mallopt(number, value)
            _glibc.malloc_trim(0)
