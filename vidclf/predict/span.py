"""The part of a video that is asked about, cut out as an ingest would: exact to the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from vidclf.config import ClipProfile
from vidclf.errors import ConfigError, OutOfRange
from vidclf.media.cut import cut
from vidclf.media.ffmpeg import SEEK_MARGIN
from vidclf.media.probe import survey

CUT_TIMEOUT = 600.0  # seconds of one process of ffmpeg
SLACK = 0.25  # seconds by which containers misstate where a video ends


@dataclass(frozen=True)
class Span:
    """``[start, end)`` in seconds of a video; None: its beginning, its end."""

    start: float | None = None
    end: float | None = None

    @classmethod
    def of(cls, start: float | None, end: float | None, duration: float | None) -> Span:
        """From what a person says.

        Raises:
            ConfigError: a start without an end or a duration, both of these, or times that make no sense.
        """
        for name, value in (("start time", start), ("end time", end), ("duration", duration)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"the {name} is {value:g}: seconds from 0 are wanted")
        if end is not None and duration is not None:
            raise ConfigError("an end time and a duration are both given: one of them says where the cut ends")
        if start is not None and end is None and duration is None:
            raise ConfigError("a start time is given, and no end time or duration: one of them says where the cut ends")
        if duration is not None:
            end = (start or 0.0) + duration
        if end is not None and end <= (start or 0.0):
            raise ConfigError(f"the cut would end at {end:g} s, and begin at {start or 0:g} s")
        return cls(start, end)

    @property
    def is_whole(self) -> bool:
        return self.start is None and self.end is None

    def cut_out(self, video: Path, side_size: int | None, to: Path) -> None:
        """Write this part of ``video`` to the mp4 ``to``, frame by frame as the source has them.

        Args:
            side_size: pixels of the shorter side that the model wants, where they are more than a clip has.

        Raises:
            OutOfRange: the video ends before the part does.
            MediaError: see ``vidclf.media.cut.cut``.
        """
        _, segment = survey(video, self.start, self.end, SEEK_MARGIN)
        end = segment.video_end
        if end is not None and end > 0 and float(end) < max(self.start or 0.0, (self.end or 0.0) - SLACK):
            raise OutOfRange(
                f"{self.start or 0:g} to {self.end:g} s is asked for, but the video ends at {float(end):.2f} s"
            )
        profile = ClipProfile(min_duration=0.0)
        profile = profile.model_copy(update={"short_side": max(profile.short_side, side_size or 0)})
        cut(video, self.start, self.end, profile, to, CUT_TIMEOUT)
