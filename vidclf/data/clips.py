"""Reader of the clips themselves: mp4 by PyAV. Frame k is the k-th one in order of time, exactly.

A clip is our own encode: an index of its packets at the front, closed groups of pictures that begin with a key frame
(``ClipProfile.gop``). So the frames between two key frames of the index are those between them on the screen too, and
only the groups that hold wanted frames are read. Within one, frames that nobody wants and none refers to are skipped.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vidclf.data.readers import Entry
from vidclf.errors import StorageError, Unreadable
from vidclf.media.probe import MAX_PIXELS, SAFE_FORMATS, SAFE_PROTOCOLS, video_stream
from vidclf.storage import Store

if TYPE_CHECKING:
    import av
    import av.container


class ClipReader:
    """Opens single clips. One from a remote store is fetched whole: ten seconds are about a megabyte, one request."""

    def __init__(self, store: Store):
        self.store = store
        self._pid = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @contextmanager
    def open(self, entry: Entry) -> Iterator[VideoClip]:
        """The frames of ``entry``.

        Raises:
            StorageError: the file cannot be fetched.
            Unreadable: it is not a whole video; also for errors inside the ``with`` block.
        """
        import av

        if self._pid != os.getpid():  # connections of a process that was forked are its parent's
            self._pid, self.store = os.getpid(), Store(self.store.uri)
        options = {"format_whitelist": SAFE_FORMATS, "max_pixels": str(MAX_PIXELS)}
        source: str | io.BytesIO
        if self.store.is_local:
            source = f"file:{self.store.full(entry.path)}"
            options |= {"protocol_whitelist": SAFE_PROTOCOLS}
        else:
            source = io.BytesIO(self.store.read_bytes(entry.path))
        try:
            with av.open(source, mode="r", options=options) as container:
                yield VideoClip(container, entry.path)
        except FileNotFoundError as error:
            raise StorageError(f"cannot open {self.store.uri}/{entry.path}: {error.strerror}") from error
        except av.FFmpegError as error:
            raise Unreadable(f"{entry.path}: {error.strerror or error}") from error


class VideoClip:
    """The frames of an open clip."""

    def __init__(self, container: av.container.InputContainer, name: str):
        from av.video.reformatter import VideoReformatter

        self._container, self._name = container, name
        self._stream = video_stream(container, name)
        self._stream.codec_context.thread_count = 1  # parallelism comes from many clips
        self._reformatter = VideoReformatter()  # one for all frames: each of its own would set up its tables anew
        index = [(entry.timestamp, entry.is_keyframe) for entry in self._stream.index_entries]
        self._timestamps = [timestamp for timestamp, _ in index]  # of decoding, which is how containers seek
        self._keys = [position for position, (_, is_key) in enumerate(index) if is_key]
        if not self._keys or self._keys[0] != 0:
            raise Unreadable(f"{name} has no index of frames that begins with a key frame")

    def __len__(self) -> int:
        return len(self._timestamps)

    def decode(self, indices: Sequence[int]) -> Tensor:
        """The frames at ``indices``, each decoded once: uint8 (len(indices), C, H, W), RGB.

        Raises:
            Unreadable: one of them is damaged, or the file ends before it.
        """
        pictures: dict[int, Tensor] = {}
        for group, members in groupby(sorted(set(indices)), key=lambda index: bisect_right(self._keys, index) - 1):
            pictures |= self._decode_group(group, list(members))
        if len({picture.shape for picture in pictures.values()}) > 1:
            raise Unreadable(f"{self._name}: its picture changes its size")
        return torch.stack([pictures[index] for index in indices]).permute(0, 3, 1, 2)

    def _decode_group(self, group: int, indices: list[int]) -> dict[int, Tensor]:
        """Frames of one group of pictures: index → uint8 (H, W, C)."""
        packets = self._packets(group)
        first = self._keys[group]
        shown = sorted(packet.pts for packet in packets if packet.pts is not None)
        wanted = {shown[index - first]: index for index in indices}  # pts → index
        last = max(position for position, packet in enumerate(packets) if packet.pts in wanted)
        context = self._stream.codec_context
        pictures: dict[int, Tensor] = {}
        for packet in [*packets[: last + 1], None]:  # None: hand out what was held back for its order
            if packet is not None:
                context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            for frame in context.decode(packet):
                if frame.pts in wanted:
                    pictures[wanted[frame.pts]] = self._picture(frame)
        context.flush_buffers()
        if len(pictures) != len(indices):
            lost = sorted(set(indices) - set(pictures))
            raise Unreadable(f"{self._name}: frame {lost[0]} of {len(self)} cannot be decoded")
        return pictures

    def _packets(self, group: int) -> list[av.Packet]:
        """The packets of one group of pictures, in order of decoding."""
        first = self._keys[group]
        end = self._keys[group + 1] if group + 1 < len(self._keys) else len(self)
        # Its last packet is decoded after its first one is shown, and before the next group: by either clock, inside.
        self._container.seek(self._timestamps[end - 1], stream=self._stream, backward=True)
        packets = [p for p in islice(self._container.demux(self._stream), end - first) if p.pts is not None]
        if packets and packets[0].dts != self._timestamps[first]:  # a group so short that the clocks disagree
            self._container.seek(self._timestamps[0], stream=self._stream, backward=True)
            packets = [p for p in islice(self._container.demux(self._stream), end) if p.pts is not None][first:]
        if len(packets) != end - first:
            raise Unreadable(f"{self._name} ends after {first + len(packets)} of {len(self)} frames")
        if min(packet.pts for packet in packets if packet.pts is not None) != packets[0].pts:
            raise Unreadable(f"{self._name}: its key frame {first} is not the first of its group to be shown")
        return packets

    def _picture(self, frame: av.VideoFrame) -> Tensor:
        if frame.is_corrupt:
            raise Unreadable(f"{self._name}: the frame at {frame.time} s is damaged")
        # As the frames stage does it, so that both readers give the same picture.
        rgb = self._reformatter.reformat(frame, format="rgb24", interpolation="BICUBIC")
        return torch.from_numpy(rgb.to_ndarray())
