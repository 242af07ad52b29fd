"""Who works on a training: one at a time, and nobody on a finished one."""

from __future__ import annotations

import contextlib
import getpass
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

from vidclf.lease import Lease, hold
from vidclf.models import checkpoint
from vidclf.storage import Store
from vidclf.training.work import TrainingWork


def is_finished(work: TrainingWork) -> bool:
    """Whether the model of ``work`` is there. A try is never finished: it begins anew."""
    return not work.config.fast_dev_run and checkpoint.exists(Store(work.store), work.model_path)


@contextlib.contextmanager
def claimed(work: TrainingWork) -> Iterator[Lease]:
    """Hold the training's lease for the length of a ``with`` block; what an earlier try left is removed.

    Raises:
        LeaseHeld: somebody else trains just this; the message says who.
    """
    store = Store(work.store)
    run_id = f"{_user()}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    with hold(store.at(work.training_path), run_id) as lease:
        if work.config.fast_dev_run:
            store.delete_folder(work.model_path)
            store.delete_folder(work.states_path)
        yield lease


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "somebody"
