"""Every error that vidclf raises on purpose, as one tree.

    VidclfError
    ├── ConfigError           the request is wrong: a name, a value, a combination
    ├── AnnotationError       an annotation file, or one row of it, makes no sense
    ├── StorageError          the store cannot be reached, read or written
    ├── Postponed             not yet: a host's turn has not come; no failure
    └── ClipError             one clip failed; the run goes on
        ├── SourceError
        │   ├── Gone          removed, private, never there            permanent
        │   ├── Removed       taken out on request                     permanent
        │   ├── Blocked       the host wants us to stop                open
        │   └── Unreachable   the network or the host is down          open
        ├── MediaError
        │   ├── Unreadable    not a video, truncated, damaged          permanent
        │   ├── NoVideo       no video stream                          permanent
        │   ├── TooShort      fewer seconds than the profile wants     permanent
        │   ├── OutOfRange    the segment lies outside the video       permanent
        │   └── Unsafe        refused before it was decoded            permanent
        ├── Crashed           the process that worked on it died       permanent
        └── TimedOut          it took longer than it may               open

A *permanent* error settles its clip: a rerun leaves it alone. An *open* one is taken up again by the next run.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Retry(Enum):
    """What to do with a clip that failed, within the same run."""

    NEVER = "never"  # the same would happen again
    BACKOFF = "backoff"  # later, with jitter
    WHEN_ALLOWED = "when_allowed"  # when its host lets everybody on again
    ONCE_ALONE = "once_alone"  # a crash may have been a neighbour's


class VidclfError(Exception):
    """Base of all errors raised on purpose. ``kind`` is the word that ledgers and manifests show."""

    kind: ClassVar[str] = "error"


class ConfigError(VidclfError):
    """The request is wrong. Exit status 2."""

    kind = "config"


class AnnotationError(VidclfError):
    """An annotation file cannot be used, or a row of it is nonsense."""

    kind = "annotation"


class StorageError(VidclfError):
    """The store cannot be reached, read or written."""

    kind = "storage"


class Postponed(VidclfError):
    """A host's turn has not come: ask again at ``until``. Not a failure, and no attempt.

    ``then`` is the job to do then, where it is not the same as now.
    """

    kind = "postponed"

    def __init__(self, host: str, until: float, why: str = "", then: object = None):
        super().__init__(host, until, why, then)  # as they are, so that it can be pickled
        self.host = host
        self.until = until  # seconds since the epoch
        self.why = why  # empty where it is the allowed rate alone
        self.then = then

    def __str__(self) -> str:
        return f"{self.host} is asked again at {self.until:.0f}" + (f": {self.why}" if self.why else "")


class ClipError(VidclfError):
    """One clip failed. It becomes a row with this kind, never the end of a run."""

    kind = "clip"
    permanent: ClassVar[bool] = True
    retry: ClassVar[Retry] = Retry.NEVER


class SourceError(ClipError):
    """The source video could not be fetched."""


class Gone(SourceError):
    """The video was removed, is private, or was never there."""

    kind = "gone"


class Removed(SourceError):
    """The clip was taken out of the dataset on request."""

    kind = "removed"


class Blocked(SourceError):
    """The host asks us to stop: too many requests, a sign-in, a bot check.

    ``retry_after`` is how many seconds the host asked for; None where it named none.
    """

    kind = "blocked"
    permanent = False
    retry = Retry.WHEN_ALLOWED

    def __init__(self, message: str = "", retry_after: float | None = None):
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(SourceError):
    """The host or the network failed; the video may be there."""

    kind = "unreachable"
    permanent = False
    retry = Retry.BACKOFF


class MediaError(ClipError):
    """The file that was fetched cannot become this clip."""


class Unreadable(MediaError):
    """Not a video, truncated, or damaged."""

    kind = "unreadable"


class NoVideo(MediaError):
    """The file has no video stream."""

    kind = "no_video"


class TooShort(MediaError):
    """What remains of the segment is shorter than the profile wants."""

    kind = "too_short"


class OutOfRange(MediaError):
    """The segment lies outside the video."""

    kind = "out_of_range"


class Unsafe(MediaError):
    """Refused before decoding: dimensions, a playlist in disguise, a file that is not regular."""

    kind = "unsafe"


class Crashed(ClipError):
    """The process that worked on the clip died, twice."""

    kind = "crashed"
    retry = Retry.ONCE_ALONE


class TimedOut(ClipError):
    """The work took longer than it may."""

    kind = "timeout"
    permanent = False
    retry = Retry.BACKOFF


def _leaves(root: type[ClipError]) -> list[type[ClipError]]:
    found = [root] if root.kind not in ("clip",) else []
    for child in root.__subclasses__():
        found += _leaves(child)
    return found


#: kind → class, for every error a clip can have
CLIP_ERRORS: dict[str, type[ClipError]] = {error.kind: error for error in _leaves(ClipError)}


def is_settled(error_kind: str | None) -> bool:
    """Whether a clip whose last outcome was ``error_kind`` (None: ok) is left alone by a rerun."""
    if error_kind is None:
        return True
    error = CLIP_ERRORS.get(error_kind)
    return error is None or error.permanent
