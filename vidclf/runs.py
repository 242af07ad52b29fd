"""What runs are called."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime


def new_run_id(verb: str = "") -> str:
    """``20261121-150412-3fa9c1`` or ``gc-20261121-150412-3fa9c1``: who holds a lease, and who wrote a row of the ledger."""
    run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    return f"{verb}-{run_id}" if verb else run_id
