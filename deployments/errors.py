"""What can go wrong with the local stack, beside a wrong request."""

from __future__ import annotations

from vidclf.errors import VidclfError


class StackError(VidclfError):
    """A service did not start, or did not end, or the deployments could not be written."""

    kind = "stack"

    def __init__(self, message: str, log_end: str = "") -> None:
        super().__init__(message)
        self.log_end = log_end  # the last lines of the log that says more; may be empty
