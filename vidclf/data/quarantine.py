"""Clips that could not be read: who they are, why, and how many of them a run bears."""

from __future__ import annotations

from collections.abc import Iterable

from vidclf.data.batch import Failure
from vidclf.errors import VidclfError


class TooManyUnreadable(VidclfError):
    """More clips could not be read than the budget allows."""

    kind = "too_many_unreadable"


class Quarantine:
    """Counts each unreadable clip once, however many epochs meet it, against a share of all clips.

    Args:
        num_clips: that there are, variants included.
        max_share: of them that may be unreadable; 0: none.
    """

    def __init__(self, num_clips: int, max_share: float):
        self.num_clips, self.max_share = num_clips, max_share
        self.reasons: dict[str, str] = {}  # by clip_id, in the order of meeting them

    def add(self, failures: Iterable[Failure]) -> list[Failure]:
        """Note a batch's failures.

        Returns:
            Those that are new, to be logged.

        Raises:
            TooManyUnreadable: they are more than the budget allows; says how many, and the first one's reason.
        """
        new = [failure for failure in failures if failure.clip_id not in self.reasons]
        self.reasons |= {failure.clip_id: failure.reason for failure in new}
        if len(self.reasons) > self.max_share * self.num_clips:
            clip_id, reason = next(iter(self.reasons.items()))
            raise TooManyUnreadable(
                f"{len(self.reasons)} of {self.num_clips} clips cannot be read, data.max_unreadable_share is"
                f" {self.max_share:g}; the first is {clip_id}: {reason}"
            )
        return new
