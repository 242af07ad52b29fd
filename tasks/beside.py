"""Something that goes on beside a ``with`` block."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def beside(work: Callable[[threading.Event], object], name: str) -> Iterator[None]:
    """Run ``work`` in a thread while the block runs. The event that it gets is set when the block ends, and then waited for.

    Args:
        work: looks at the event between its steps. It runs in the caller's context: Prefect knows the flow run there.
        name: of the thread.
    """
    ended = threading.Event()
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work, ended), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
