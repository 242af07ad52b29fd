"""One Prefect task per step. Each fans its work out over Ray and settles every clip's account in the ledger."""

import os

if "RAY_ADDRESS" not in os.environ:
    # Ray reads this when it is imported. Without it a cluster on this machine listens on every interface.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
