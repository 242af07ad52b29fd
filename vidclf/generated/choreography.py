"""Who dances what, when and where: the generated dancing set, without a pixel of it.

Four labels of Kinetics-700 that differ **by motion alone**. A figure's middle is at

    x = home_x + amplitude · cos(across)        y = home_y + amplitude · cos(down)

    salsa dancing       sways: ``across`` turns, ``down`` stays where chance has put it
    jumpstyle dancing   bounces: ``down`` turns, ``across`` stays
    belly dancing       circles clockwise: both turn, a quarter of a turn apart
    swing dancing       circles counterclockwise: the same played backwards

In a single frame both phases are uniform, in every class. That a circle's two are tied to each other is blurred by the
figure's home, which is anywhere and which no frame shows: whoever sees one figure's place alone and knows all this is
right in 32 % of cases at best, where 25 % is chance.

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
    """Which phases turn; ``lead`` is 1 where ``down`` is ahead of ``across``, -1 where it is behind, 0: not tied."""

    across: bool
    down: bool
    lead: int = 0


DANCES = {
    "belly dancing": Dance(across=True, down=True, lead=-1),  # clockwise, as y points down
    "jumpstyle dancing": Dance(across=False, down=True),
    "salsa dancing": Dance(across=True, down=False),
    "swing dancing": Dance(across=True, down=True, lead=1),
}
LABELS = tuple(DANCES)

#: good clips per class
CLIPS_PER_CLASS = {"train": 60, "validate": 10, "test": 27}
SEGMENT_SECONDS = 2

SIZES = ((128, 96), (160, 120), (96, 128), (128, 128), (176, 144), (120, 160), (192, 108), (144, 112))
RATES = (Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30))
GOPS = (12, 30, 60, 250)

#: half of the figure's height at most, arms included; with the largest amplitude it stays inside the central square
REACH = 0.23
#: fractions of the short side
AMPLITUDES = (0.15, 0.19)
#: how far home is from the picture's centre, at most, in each direction; fraction of the short side
HOME = 0.065
#: seconds; 5 to 8 frames when a clip is sampled 4 times a second
PERIODS = (1.25, 2.0)


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
    """``label`` is danced from ``start`` until ``end`` (seconds); the phases are those at its start (radians)."""

    label: str
    start: int
    end: int
    across: float
    down: float


@dataclass(frozen=True)
class Motion:
    """How one figure moves. Lengths are fractions of the picture's short side, the period is in seconds."""

    home: tuple[float, float]  # from the picture's centre
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
    phases = np.empty((len(times), 2))
    for index, piece in enumerate(motion.pieces):
        phases[playing == index] = _phases(piece, motion.period, times[playing == index])
    return np.array(motion.home) + motion.amplitude * np.cos(phases)


def _phases(piece: Piece, period: float, times: Floats) -> Floats:
    """``across`` and ``down`` at these seconds of the piece, (T, 2)."""
    dance, turned = DANCES[piece.label], 2 * np.pi * (times - piece.start) / period
    return np.stack([piece.across + dance.across * turned, piece.down + dance.down * turned], axis=1)


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
    home = (float(rng.uniform(-HOME, HOME)), float(rng.uniform(-HOME, HOME)))
    motion = Motion(home, float(rng.uniform(*AMPLITUDES)), period, _pieces(rng, labels))
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
            across, down = (float(phase) for phase in rng.uniform(-np.pi, np.pi, 2))
            lead = DANCES[label].lead
            pieces.append(Piece(label, now, now + seconds, across, across + lead * np.pi / 2 if lead else down))
            now += seconds
    return tuple(pieces)
