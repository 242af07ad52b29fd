"""One video after another, each with its own end: what ``vidclf predict`` does once its options are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vidclf.errors import ConfigError, VidclfError
from vidclf.predict.answers import Answer, Prediction
from vidclf.predict.frames import ViewFrames, view_frames, window_frames, windows_of
from vidclf.predict.inputs import find_videos, local_file, name_of
from vidclf.predict.span import Span
from vidclf.scratch import exhausted, scratch_folder

if TYPE_CHECKING:
    from vidclf.predict.classifier import Classifier


@dataclass(frozen=True)
class Request:
    """How videos are asked about, and what is kept of the way."""

    span: Span = field(default_factory=Span)
    top_k: int = 5
    num_views: int = 3
    sliding: float | None = None  # seconds of a window; None: the whole video is one clip
    keep_cut: bool = False  # as NAME_cut.mp4
    save_frames: Path | None = None  # a folder; the frames go into a folder of it
    remove_frames: bool = False  # when the video is answered
    into: Path | None = None  # where cuts and timelines go; None: beside the video


def find_all(asked: Sequence[str]) -> list[str | Answer]:
    """The videos that are meant, each once, and an answer with the error for what means none."""
    found: dict[str, str | Answer] = {}
    for one in asked:
        try:
            found |= {video: video for video in find_videos(one)}
        except VidclfError as error:
            found[one] = _failed(one, error)
    return list(found.values())


class Worker:
    """Answers for videos; a video that fails costs itself alone."""

    def __init__(self, classifier: Classifier, request: Request):
        self._classifier, self._request = classifier, request
        self._written: set[Path] = set()

    def answer(self, video: str) -> Answer:
        """What the model says of one video, or what is wrong with it.

        Raises:
            StorageError: this machine has no room, or not enough of something else.
        """
        try:
            return self._answer(video)
        except VidclfError as error:
            return _failed(video, error)
        except Exception as error:  # a hostile file finds what nobody thought of; it costs itself, with a reason
            if trouble := exhausted(error):
                raise trouble from error
            return Answer(video, error_kind="crashed", error=f"{type(error).__name__}: {error}"[:500])

    def _answer(self, video: str) -> Answer:
        request, files = self._request, list[str]()
        with local_file(video) as local, scratch_folder() as scratch, self._frames_folder(video) as frames:
            source = local
            if not request.span.is_whole:
                source = scratch / "cut.mp4"
                request.span.cut_out(local, self._classifier.card.view.stored.side_size, source)
            predictions = tuple(self._predictions(video, source, frames))
            if request.keep_cut:
                files.append(self._keep(video, "_cut.mp4", source.read_bytes()))
            if request.sliding is not None:
                from vidclf.predict.timeline import timeline_png

                files.append(self._keep(video, "_timeline.png", timeline_png(name_of(video), predictions)))
                predictions = tuple(replace(said, labels=said.labels[: request.top_k]) for said in predictions)
            if frames is not None and not request.remove_frames:
                files.append(str(frames))
        return Answer(video, predictions, files=tuple(files))

    def _predictions(self, video: str, source: Path, frames: Path | None) -> Iterator[Prediction]:
        request, view = self._request, self._classifier.card.view
        if request.sliding is None:
            seen = view_frames(source, view, request.num_views)
            _save(seen, frames, 0)
            said = self._classifier.label(video, seen, request.top_k, request.num_views)
            yield replace(said, start=request.span.start, end=request.span.end)
            return
        windows, begin, saved = windows_of(source, request.sliding), request.span.start or 0.0, 0
        for window, seen in zip(windows, window_frames(source, view, request.num_views, windows), strict=True):
            saved += _save(seen, frames, saved)
            start, end = (round(begin + float(time), 3) for time in (window.start, window.end))
            every = len(self._classifier.classes)  # a timeline follows a label also where it is not among the likeliest
            yield self._classifier.label(video, seen, every, request.num_views, start, end)

    @contextlib.contextmanager
    def _frames_folder(self, video: str) -> Iterator[Path | None]:
        """Where this video's frames go; removed with them where they are not to stay, or nothing came of it."""
        if self._request.save_frames is None:
            yield None
            return
        folder = self._free(self._request.save_frames / name_of(video))
        done = False
        try:
            yield folder
            done = True
        finally:
            if folder.is_dir() and (self._request.remove_frames or not done):
                for picture in folder.glob("*.jpg"):
                    picture.unlink()
                with contextlib.suppress(OSError):  # something else is in it
                    folder.rmdir()

    def _keep(self, video: str, ending: str, content: bytes) -> str:
        folder = self._request.into or (Path.cwd() if "://" in video else Path(video).parent)
        path = self._free(folder / f"{name_of(video)}{ending}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
        return str(path)

    def _free(self, path: Path) -> Path:
        """``path``, or with a number where another video of this request has it already: a.mp4 and a.avi."""
        number, free = 1, path
        while free in self._written:
            number += 1
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        self._written.add(free)
        return free


def _save(seen: ViewFrames, folder: Path | None, already: int) -> int:
    """Write the frames that the model sees as 00001.jpg and so on; how many they are."""
    if folder is None:
        return 0
    from vidclf.media.frames import encode_jpeg

    pictures = seen.once()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(pictures, start=already + 1):
            (folder / f"{number:05d}.jpg").write_bytes(encode_jpeg(picture, 95))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from None
    return len(pictures)


def _failed(video: str, error: VidclfError) -> Answer:
    return Answer(video, error_kind=error.kind, error=" ".join(str(error).split()))
