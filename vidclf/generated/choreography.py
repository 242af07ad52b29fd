"""Who dances what, when and where: the generated dancing set, without a pixel of it.

Four labels of Kinetics-700 that differ **by motion alone**. A figure goes to and fro along one axis, slowly one way and
fast the other, and stays where chance has put it along the other axis:

    country line dancing    slowly to the right, fast back
    tango dancing           slowly to the left, fast back
    salsa dancing           slowly down, fast back
    jumpstyle dancing       slowly up, fast back

At constant speeds every place on the way is equally likely, whatever the speeds are. So in a single frame both
coordinates are uniform and independent, in every class: no frame says anything about its class, exactly. All frames
together, out of order, say which axis it is. The first two are each other played backwards, and so are the last two.

Everything follows from ``(seed, video id)``.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from enum import Enum
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Dance:
    """Along which axis the figure moves, and what share of a period it moves right, or down."""

    axis: int  # 0: x, 1: y
    rising: float


SLOW = 0.85  # of a period

DANCES = {
    "country line dancing": Dance(axis=0, rising=SLOW),
    "jumpstyle dancing": Dance(axis=1, rising=1 - SLOW),
    "salsa dancing": Dance(axis=1, rising=SLOW),
    "tango dancing": Dance(axis=0, rising=1 - SLOW),
}
LABELS = tuple(DANCES)

#: good clips per class
CLIPS_PER_CLASS = {"train": 60, "validate": 10, "test": 27}
SEGMENT_SECONDS = 2

SIZES = ((128, 96), (160, 120), (96, 128), (128, 128), (176, 144), (120, 160), (192, 108), (144, 112))
RATES = (Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30))
GOPS = (12, 30, 60, 250)

#: half of the figure's height at most, arms included; with the largest amplitude it stays inside the central square
REACH = 0.24
#: fractions of the short side
AMPLITUDES = (0.20, 0.24)
#: seconds; 7 to 10 frames when a clip is sampled 8 times a second
PERIODS = (0.9, 1.25)


class State(Enum):
    """What becomes of somebody who fetches a video and opens it."""

    GOOD = "good"
    DEAD = "dead"  # ``Gone`` when it is fetched
    TRUNCATED = "truncated"  # the file stops before its index: ``Unreadable``
    AUDIO_ONLY = "audio_only"  # ``NoVideo``


#: beside the good ones: split → state → how many videos
AWKWARD: dict[str, dict[State, int]] = {
    "train": {State.DEAD: 3, State.TRUNCATED: 1},
    "validate": {State.DEAD: 1},
    "test": {State.DEAD: 2, State.AUDIO_ONLY: 1},
}


@dataclass(frozen=True)
class AnnotationRow:
    """One row of a Kinetics-700-2020 annotation file. Times in whole seconds, the end is exclusive."""

    label: str
    youtube_id: str
    time_start: int
    time_end: int
    split: str


@dataclass(frozen=True)
class Piece:
    """``label`` is danced from ``start`` until ``end`` (seconds)."""

    label: str
    start: int
    end: int
    phase: float  # at its start, in periods: 0 is the left or the upper end
    still: float  # along the axis that does not move, -1 to 1, in amplitudes


@dataclass(frozen=True)
class Motion:
    """How one figure moves. The amplitude is a fraction of the picture's short side, the period is in seconds."""

    amplitude: float
    period: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Video:
    """One source video. ``motion.pieces`` fill its whole length; ``segments`` are those that are annotated."""

    video_id: str
    split: str
    state: State
    segments: tuple[Piece, ...]
    motion: Motion
    width: int
    height: int
    rate: Fraction
    gop: int

    @property
    def seconds(self) -> int:
        return self.motion.pieces[-1].end

    @property
    def times(self) -> Floats:
        """Seconds at which its frames are shown: every frame that starts before ``seconds``, (T,)."""
        num_frames = -int(-self.seconds * self.rate // 1)
        return np.arange(num_frames) / float(self.rate)


def generator(seed: int, video_id: str, purpose: str) -> np.random.Generator:
    """Random numbers that depend on nothing else; one stream per purpose, so that looks cannot depend on the label."""
    digest = hashlib.sha256(f"{seed}/{video_id}/{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def offsets(motion: Motion, times: Floats) -> Floats:
    """Where the figure's middle is, as (x, y) from the picture's centre in short sides, y down.

    Args:
        times: seconds, (T,).

    Returns:
        (T, 2).
    """
    starts = [piece.start for piece in motion.pieces[1:]]
    playing = np.searchsorted(starts, times, side="right")
    places = np.empty((len(times), 2))
    for index, piece in enumerate(motion.pieces):
        dance, now = DANCES[piece.label], playing == index
        places[now, dance.axis] = _to_and_fro(piece.phase + (times[now] - piece.start) / motion.period, dance.rising)
        places[now, 1 - dance.axis] = piece.still
    return motion.amplitude * places


def _to_and_fro(phase: Floats, rising: float) -> Floats:
    """From -1 to 1 at constant speed during ``rising`` of a period, then back; phases are in periods."""
    passed = phase % 1.0
    return np.where(passed < rising, 2 * passed / rising - 1, 1 - 2 * (passed - rising) / (1 - rising))


@lru_cache(maxsize=4)
def programme(seed: int) -> dict[str, Video]:
    """Every video of the set, by id, in a mixed order."""
    videos = [
        _video(seed, f"{seed}/{number}", split, state, labels)
        for number, (split, state, labels) in enumerate(_billing())
    ]
    order = np.random.default_rng(seed).permutation(len(videos))
    return {videos[index].video_id: videos[index] for index in order}


def annotation_rows(seed: int = 0) -> list[AnnotationRow]:
    """One row per annotated segment, train first; a few videos have two."""
    rows = [
        AnnotationRow(segment.label, video.video_id, segment.start, segment.end, video.split)
        for video in programme(seed).values()
        for segment in video.segments
    ]
    return sorted(rows, key=lambda row: list(CLIPS_PER_CLASS).index(row.split))


def annotation_csv(seed: int = 0) -> str:
    """The text of ``dancing.csv``, which is this for seed 0."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(AnnotationRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in annotation_rows(seed))
    return text.getvalue()


def _billing() -> Iterator[tuple[str, State, tuple[str, ...]]]:
    """(split, state, labels of its segments) of every video."""
    # each label is in two of these pairs
    pairs = list(zip(LABELS, LABELS[1:] + LABELS[:1], strict=True))
    for split, clips in CLIPS_PER_CLASS.items():
        paired = pairs if split == "train" else []
        yield from ((split, State.GOOD, pair) for pair in paired)
        for label in LABELS:
            alone = clips - sum(label in pair for pair in paired)
            yield from ((split, State.GOOD, (label,)) for _ in range(alone))
        states = [state for state, count in AWKWARD[split].items() for _ in range(count)]
        yield from ((split, state, (LABELS[index % len(LABELS)],)) for index, state in enumerate(states))


def _video(seed: int, name: str, split: str, state: State, labels: tuple[str, ...]) -> Video:
    digest = hashlib.sha256(f"vidclf dancing {name}".encode()).digest()
    video_id = base64.urlsafe_b64encode(digest).decode()[:11]  # the alphabet of YouTube's ids, which may start with -
    rng = generator(seed, video_id, "motion")
    period = float(rng.uniform(*PERIODS))
    motion = Motion(float(rng.uniform(*AMPLITUDES)), period, _pieces(rng, labels))
    form = generator(seed, video_id, "form")
    width, height = SIZES[form.integers(len(SIZES))]
    return Video(
        video_id=video_id,
        split=split,
        state=state,
        segments=motion.pieces[1::2],
        motion=motion,
        width=width,
        height=height,
        rate=RATES[form.integers(len(RATES))],
        gop=GOPS[form.integers(len(GOPS))],
    )


def _pieces(rng: np.random.Generator, labels: tuple[str, ...]) -> tuple[Piece, ...]:
    """Something else, a segment, something else, … : who cuts a second too early or late sees another dance."""
    pauses = [1] * (len(labels) + 1)
    pauses[rng.integers(len(pauses))] += int(rng.integers(2))
    pieces: list[Piece] = []
    now = 0
    for index, pause in enumerate(pauses):
        beside = labels[max(index - 1, 0) : index + 1]
        other = str(rng.choice([label for label in LABELS if label not in beside]))
        for label, seconds in ((other, pause), *((label, SEGMENT_SECONDS) for label in labels[index : index + 1])):
            phase, still = float(rng.uniform()), float(rng.uniform(-1, 1))
            pieces.append(Piece(label, now, now + seconds, phase, still))
            now += seconds
    return tuple(pieces)
