"""The pictures and videos of a page, as many as fit: pictures of all classes come before the first video."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
from markupsafe import Markup
from PIL import Image

from vidclf.errors import StorageError
from vidclf.report import words
from vidclf.report.draw import Picture, thumbnails
from vidclf.report.gather import ClassClips
from vidclf.storage import REQUESTS_AT_A_TIME, Store

SHOWN_VARIANTS = 3  # of one clip per class
_PER_CLIP = 3000  # characters of a clip's caption and notes, and of its share of its class, at most
_PER_ELEMENT = 200  # characters of markup around a picture or a video, at most
_LONGEST_NOTE = 200

#: what reading a row raises that is not what it should be
_NO_FRAMES = (OSError, LookupError, TypeError, ValueError, Image.DecompressionBombError)

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Frame:
    """One picture of a strip."""

    uri: Markup
    width: int
    height: int
    seconds: float  # from the clip's first frame


@dataclass
class Strip:
    """Frames of a clip or of a variant, in order of time; or why there are none."""

    name: str
    frames: list[Frame] = field(default_factory=list)
    note: str = ""

    @property
    def cost(self) -> int:
        """Characters that it takes on the page."""
        return sum(len(frame.uri) + _PER_ELEMENT for frame in self.frames) + 6 * len(self.note) + _PER_ELEMENT


@dataclass
class ClipMedia:
    """What is shown of one clip."""

    row: dict[str, Any]  # of the manifest
    strips: list[Strip] = field(default_factory=list)  # the original, then variants
    video: Markup | None = None
    note: str = ""  # why there is no video

    @property
    def poster(self) -> Markup:
        """What stands in the video's place until it is played."""
        frames = self.strips[0].frames if self.strips else []
        return frames[len(frames) // 2].uri if frames else Markup()


@dataclass
class ClassMedia:
    """What is shown of one label."""

    label: str
    clips: list[ClipMedia]


@dataclass
class Gallery:
    """Everything to look at, and how much was left out for want of room."""

    classes: list[ClassMedia] = field(default_factory=list)
    classes_left_out: int = 0
    strips_left_out: int = 0  # of the classes that are shown
    videos_left_out: int = 0  # of the clips that are shown

    @property
    def left_out(self) -> list[str]:
        """What there was no room for, in words; nothing where all is there."""
        classes = self.classes_left_out + len(self.classes)
        said = {
            f"{self.classes_left_out:,} of {classes:,} classes": self.classes_left_out,
            f"the pictures of {self.strips_left_out:,} further clips or of their variants": self.strips_left_out,
            f"the videos of {self.videos_left_out:,} clips that are shown": self.videos_left_out,
        }
        return [sentence for sentence, number in said.items() if number]


class Budget:
    """Bytes that are left on the page."""

    def __init__(self, left: int):
        self.left = left

    def take(self, number: int) -> bool:
        """Whether there is room; if so, it is taken."""
        if number > self.left:
            return False
        self.left -= number
        return True


def collect(store: Store, chosen: Sequence[ClassClips], max_bytes: int) -> Gallery:
    """Read frames and videos of the chosen clips, in rounds over the classes until the room is used.

    First a strip of one clip of each class, then its variants, then the strips of the further clips, then the videos.
    What cannot be read has a note in its place.
    """
    budget, gallery = Budget(max_bytes), Gallery()
    classes = [ClassMedia(group.label, [ClipMedia(row) for row in group.clips]) for group in chosen]
    firsts = [group.clips[0] for group in classes]
    others = [clip for group in classes for clip in group.clips[1:]]
    varied = [clip for clip in firsts if clip.row["num_variants"]]
    for clips, read in ((firsts, _original), (varied, _variants), (others, _original)):
        left_out = _add_strips(store, clips, read, budget)
        gallery.strips_left_out += left_out
        if left_out and clips is firsts:
            gallery.classes_left_out = sum(not clip.strips for clip in firsts)
            gallery.strips_left_out = 0
            break
    gallery.classes = [group for group in classes if group.clips[0].strips]
    for group in gallery.classes:
        group.clips = [clip for clip in group.clips if clip.strips]
    depth = max((len(group.clips) for group in gallery.classes), default=0)
    for rank in range(depth):
        clips = [group.clips[rank] for group in gallery.classes if rank < len(group.clips)]
        gallery.videos_left_out += _add_videos(store, clips, budget)
    return gallery


def _add_strips(
    store: Store, clips: list[ClipMedia], read: Callable[[Store, dict[str, Any]], list[Strip]], budget: Budget
) -> int:
    """Strips for the clips, in order, until one does not fit. Returns for how many clips there was no room."""
    for done, (clip, strips) in enumerate(_in_order(store, clips, lambda clip: read(store, clip.row))):
        if not budget.take(sum(strip.cost for strip in strips) + (0 if clip.strips else _PER_CLIP)):
            budget.left = 0  # nothing that comes later in the order, and happens to be smaller, goes before it
            return len(clips) - done
        clip.strips += strips
    return 0


def _add_videos(store: Store, clips: list[ClipMedia], budget: Budget) -> int:
    """Videos for the clips that they fit for. Returns how many did not."""
    fitting, left_out = [], 0
    for clip in clips:
        if clip.row["clip_path"] is None or clip.row["bytes"] is None:
            clip.note = "No clip file in the manifest."
        elif budget.take(_cost_of_video(clip)):
            fitting.append(clip)
        else:
            clip.note = f"The clip ({words.size(clip.row['bytes'])}) did not fit on this page."
            left_out += 1
    for clip, video in _in_order(store, fitting, lambda clip: _video(store, clip.row)):
        if isinstance(video, Markup):
            clip.video = video
        else:
            clip.note = words.showable(video, _LONGEST_NOTE)
            budget.left += _cost_of_video(clip)
    return left_out


def _original(store: Store, row: dict[str, Any]) -> list[Strip]:
    return [_strip(store, row["clip_id"], row["frames_path"], row["frames_row"], "original")]


def _variants(store: Store, row: dict[str, Any]) -> list[Strip]:
    return [
        _strip(
            store, row["clip_id"], row["variants_path"], (row["variants_row"] or 0) + number, f"variant {number + 1}"
        )
        for number in range(min(row["num_variants"], SHOWN_VARIANTS))
    ]


def _strip(store: Store, clip_id: str, path: str | None, row: int | None, name: str) -> Strip:
    if path is None or row is None:
        return Strip(name, note="No frames in the manifest.")
    try:
        stored = store.read_row_group(path, row)
        if stored["clip_id"].to_pylist() != [clip_id]:
            return Strip(name, note=f"Row group {row} of {path} holds another clip.")
        pictures = thumbnails(stored["frames"][0].values, stored["timestamps"][0].as_py())
    except (StorageError, pa.ArrowException, *_NO_FRAMES) as error:
        return Strip(name, note=words.showable(f"The frames cannot be read: {error}", _LONGEST_NOTE))
    if not pictures:
        return Strip(name, note=f"Row group {row} of {path} has no frames.")
    return Strip(name, [_frame(picture) for picture in pictures])


def _video(store: Store, row: dict[str, Any]) -> Markup | str:
    """The clip as a data URI, or why there is none."""
    try:
        data = store.read_bytes(row["clip_path"])
    except StorageError as error:
        return f"The clip cannot be read: {error}"
    if len(data) != row["bytes"]:
        return f"{row['clip_path']} has {len(data):,} bytes; in the manifest it has {row['bytes']:,}."
    return _data_uri("video/mp4", data)


def _frame(picture: Picture) -> Frame:
    return Frame(_data_uri("image/jpeg", picture.jpeg), picture.width, picture.height, picture.seconds)


def _data_uri(media_type: str, data: bytes) -> Markup:
    return Markup(f"data:{media_type};base64,") + Markup(base64.b64encode(data).decode("ascii"))


def _cost_of_video(clip: ClipMedia) -> int:
    """Characters of a clip's data URI, before it is read, and of its poster."""
    return 4 * ((clip.row["bytes"] + 2) // 3) + len(clip.poster) + _PER_ELEMENT


def _in_order(store: Store, items: Sequence[Item], read: Callable[[Item], Value]) -> Iterator[tuple[Item, Value]]:
    """What was read of each item, several at a time, little of it ahead of whoever takes it."""
    threads = (os.cpu_count() or 1) if store.is_local else REQUESTS_AT_A_TIME
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(0, len(items), 2 * threads):
            batch = items[begin : begin + 2 * threads]
            yield from zip(batch, pool.map(read, batch), strict=True)
