"""One Prefect task per step. Each fans its work out over Ray and settles every clip's account in the ledger."""

import os

os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # else a late call would start another cluster
if "RAY_ADDRESS" not in os.environ:
    # Ray reads both when it is imported. Without this one a cluster on this machine listens on every interface.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
