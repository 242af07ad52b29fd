"""The dancing set's pictures: a figure with a head, a trunk, arms and legs before a background.

Looks and limbs come from random streams that do not know the label. Pillow draws with integers, so the pixels are the
same on every machine that rounds the choreography's floats alike.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from vidclf.generated.choreography import REACH, Video, generator, offsets

Colour = tuple[int, int, int]
Floats = npt.NDArray[np.float64]
Painter = Callable[[np.random.Generator, int, int, Colour, Colour], Image.Image]

#: the figure is drawn this many times larger and reduced, which smooths its edges
OVERSAMPLING = 4
SKINS: tuple[Colour, ...] = ((226, 172, 130), (206, 150, 108), (190, 130, 90), (138, 88, 58), (96, 60, 42))


@dataclass(frozen=True)
class Looks:
    """One figure and where it stands. Lengths are in the figure's half height."""

    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    skirt: bool
    half_height: float  # in short sides
    girth: float
    limb: float


def draw(video: Video, seed: int) -> Iterator[Image.Image]:
    """The video's frames in order, RGB."""
    rng = generator(seed, video.video_id, "looks")
    backdrop, looks = _backdrop_and_looks(rng, video.width, video.height)
    short = min(video.width, video.height)
    places = np.array([video.width, video.height]) / 2 + short * offsets(video.motion, video.times)
    limbs = _limbs(rng, video.times)
    light = _dimmer(int(rng.integers(85, 101)))
    half = round(short * (REACH + 0.02))  # of the square that is drawn anew in every frame
    for place, angles in zip(places.tolist(), limbs.tolist(), strict=True):
        left, top = (int(value) - half for value in place)
        patch = backdrop.crop((left, top, left + 2 * half, top + 2 * half))
        patch = patch.resize((2 * half * OVERSAMPLING,) * 2, Image.Resampling.NEAREST)
        middle = ((place[0] - left) * OVERSAMPLING, (place[1] - top) * OVERSAMPLING)
        _figure(ImageDraw.Draw(patch), looks, angles, middle, short * looks.half_height * OVERSAMPLING)
        frame = backdrop.copy()
        frame.paste(patch.reduce(OVERSAMPLING), (left, top))
        yield frame.point(light * 3)


@cache
def _dimmer(percent: int) -> list[int]:
    return [min(255, (value * percent + 50) // 100) for value in range(256)]


def _limbs(rng: np.random.Generator, times: Floats) -> Floats:
    """Angles in radians, (T, 8): shoulder and elbow left and right, then hip and knee; each has a tempo of its own."""
    rest = np.concatenate([rng.uniform(0.4, 2.4, 2), rng.uniform(-0.2, 1.0, 2), rng.uniform(0.05, 0.3, 2), [0.0, 0.0]])
    swing = np.concatenate([rng.uniform(0.3, 0.9, 2), rng.uniform(0.3, 0.9, 2), rng.uniform(0.05, 0.25, 4)])
    tempo, start = rng.uniform(0.4, 1.6, 8), rng.uniform(0, 2 * np.pi, 8)
    return rest + swing * np.sin(2 * np.pi * tempo * times[:, None] + start)


def _figure(
    pen: ImageDraw.ImageDraw, looks: Looks, angles: list[float], middle: tuple[float, float], unit: float
) -> None:
    """Draw the figure around ``middle``; ``unit`` is its half height in the pen's pixels."""

    def at(x: float, y: float) -> tuple[float, float]:
        return (round(middle[0] + x * unit), round(middle[1] + y * unit))

    def disc(x: float, y: float, radius: float, colour: Colour) -> None:
        pen.ellipse((*at(x - radius, y - radius), *at(x + radius, y + radius)), fill=colour)

    def limb(points: list[tuple[float, float]], thick: float, colour: Colour) -> None:
        pen.line([at(*point) for point in points], fill=colour, width=round(thick * unit), joint="curve")
        disc(*points[-1], thick / 2, colour)

    girth, thick = looks.girth, looks.limb
    for side, hip, knee in ((-1, angles[4], angles[6]), (1, angles[5], angles[7])):
        joints = _chain((side * girth * 0.6, 0.12), 0.38, 0.40, side * hip, side * (hip + knee))
        limb(joints, thick * 1.15, looks.skin if looks.skirt else looks.bottom)
    if looks.skirt:
        pen.polygon([at(-girth, 0.0), at(girth, 0.0), at(girth * 1.9, 0.45), at(-girth * 1.9, 0.45)], fill=looks.bottom)
    pen.rounded_rectangle((*at(-girth, -0.48), *at(girth, 0.16)), radius=round(0.6 * girth * unit), fill=looks.top)
    for side, shoulder, elbow in ((-1, angles[0], angles[2]), (1, angles[1], angles[3])):
        joints = _chain((side * girth * 0.85, -0.40), 0.30, 0.28, side * shoulder, side * (shoulder + elbow))
        limb(joints[:2], thick, looks.top)
        limb(joints[1:], thick * 0.9, looks.skin)
    disc(0.0, -0.76, 0.23, looks.hair)
    disc(0.0, -0.70, 0.19, looks.skin)


def _chain(
    start: tuple[float, float], upper: float, lower: float, first: float, second: float
) -> list[tuple[float, float]]:
    """Three points of a limb; angles from straight down, positive to the right."""
    bend = (start[0] + upper * math.sin(first), start[1] + upper * math.cos(first))
    return [start, bend, (bend[0] + lower * math.sin(second), bend[1] + lower * math.cos(second))]


def _backdrop_and_looks(rng: np.random.Generator, width: int, height: int) -> tuple[Image.Image, Looks]:
    """A figure in strong colours before a pale background."""
    hue = float(rng.uniform())
    wall, other = (_colour(hue + float(rng.uniform(0, 0.15)), 0.2, float(rng.uniform(0.82, 1.0))) for _ in range(2))
    painter = PAINTERS[int(rng.integers(len(PAINTERS)))]
    looks = Looks(
        skin=SKINS[int(rng.integers(len(SKINS)))],
        hair=_colour(float(rng.uniform(0, 0.12)), 0.6, float(rng.uniform(0.1, 0.4))),
        top=_colour(float(rng.uniform()), 0.85, float(rng.uniform(0.35, 0.55))),
        bottom=_colour(float(rng.uniform()), 0.7, float(rng.uniform(0.2, 0.4))),
        skirt=bool(rng.integers(2)),
        half_height=float(rng.uniform(0.9, 1.0)) * REACH,
        girth=float(rng.uniform(0.18, 0.28)),
        limb=float(rng.uniform(0.14, 0.2)),
    )
    return painter(rng, width, height, wall, other), looks


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return (round(red * 255), round(green * 255), round(blue * 255))


def _plain(rng: np.random.Generator, width: int, height: int, wall: Colour, other: Colour) -> Image.Image:
    return Image.new("RGB", (width, height), wall)


def _floor(rng: np.random.Generator, width: int, height: int, wall: Colour, other: Colour) -> Image.Image:
    picture = Image.new("RGB", (width, height), wall)
    line = round(height * float(rng.uniform(0.6, 0.85)))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, line, width, height), fill=other)
    pen.line((0, line, width, line), fill=_mix(wall, (0, 0, 0), 0.3), width=2)
    return picture


def _stripes(rng: np.random.Generator, width: int, height: int, wall: Colour, other: Colour) -> Image.Image:
    picture = Image.new("RGB", (width, height), wall)
    pen = ImageDraw.Draw(picture)
    step, lean = int(rng.integers(10, 28)), int(rng.integers(-40, 41))
    for left in range(-80, width + 80, step):
        shape = [(left, 0), (left + step // 2, 0), (left + step // 2 + lean, height), (left + lean, height)]
        pen.polygon(shape, fill=_mix(wall, other, 0.6))
    return picture


def _gradient(rng: np.random.Generator, width: int, height: int, wall: Colour, other: Colour) -> Image.Image:
    ends = Image.new("RGB", (1, 2))
    ends.putdata([wall, _mix(wall, other, 0.5 + 0.5 * float(rng.uniform()))])
    return ends.resize((width, height), Image.Resampling.BILINEAR)


def _texture(rng: np.random.Generator, width: int, height: int, wall: Colour, other: Colour) -> Image.Image:
    grain = int(rng.integers(4, 12))
    noise = rng.integers(0, 256, (height // grain + 1, width // grain + 1), dtype=np.uint8)
    mask = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", (width, height), other), Image.new("RGB", (width, height), wall), mask)


def _mix(one: Colour, two: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, two, strict=True))
    return (red, green, blue)


PAINTERS: tuple[Painter, ...] = (_plain, _floor, _stripes, _gradient, _texture)
