"""Clips read from the mp4 themselves: exact frames, the same pictures as the stored frames, from a bucket too."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from tests.conftest import VideoMaker, read_number
from vidclf.clips import MANIFEST
from vidclf.config import ClipProfile, DataConfig, FramesConfig
from vidclf.data.clips import ClipReader
from vidclf.data.dataset import ClipDataset, collate
from vidclf.data.frames import FrameReader
from vidclf.data.readers import Entry
from vidclf.data.sampling import view_windows
from vidclf.data.view import View, resolve_view, stored_frames
from vidclf.errors import StorageError, Unreadable
from vidclf.media.cut import cut
from vidclf.media.ffmpeg import executable
from vidclf.media.frames import encode_jpeg, read_frames
from vidclf.predict.frames import view_frames
from vidclf.stages.frames import write_part
from vidclf.storage import Store

MakeView = Callable[..., View]
CLIP = Entry("clip", 0, 0, "clips/clip.mp4", 0)


def draw_source(path: Path, num_frames: int, uneven: bool = False) -> Path:
    """Blobs that drift over noise, so that frames are predicted from each other in both directions."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (96, 128, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        time = 0
        for number in range(num_frames):
            picture = np.roll(noise, number, axis=1)
            picture[20:60, (3 * number) % 90 :][:, :30] += 120
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            time += 15 + 20 * (number % 4) if uneven else 33
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def store_clip(folder: Path, num_frames: int = 70, uneven: bool = False, **profile: Any) -> Store:
    """A store with one clip, as the ingest would transcode it."""
    store = Store(folder / "store")
    path = Path(store.full(CLIP.path))
    path.parent.mkdir(parents=True)
    cut(draw_source(folder / "source.mp4", num_frames, uneven), None, None, ClipProfile(**profile), path, 60)
    return store


def decoded_in_order(path: Path) -> torch.Tensor:
    """Every frame of a file, decoded from its beginning: uint8 (T, C, H, W)."""
    with av.open(str(path)) as container:
        frames = [f.reformat(format="rgb24", interpolation="BICUBIC").to_ndarray() for f in container.decode(video=0)]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


def read(store: Store, indices: list[int]) -> torch.Tensor:
    with ClipReader(store).open(CLIP) as clip:
        return clip.decode(indices)


@pytest.mark.parametrize(
    ("uneven", "profile"),
    [
        (False, {}),
        (True, {}),
        (False, {"gop": 1}),
        (False, {"gop": 2}),
        (False, {"gop": 7}),
        (False, {"gop": 250}),
        (False, {"fps": 12}),
        (True, {"preset": "slow", "gop": 9}),
        (False, {"preset": "ultrafast"}),
    ],
    ids=str,
)
def test_each_frame_is_what_decoding_from_the_beginning_gives(
    tmp_path: Path, uneven: bool, profile: dict[str, Any]
) -> None:
    store = store_clip(tmp_path, uneven=uneven, **profile)
    expected = decoded_in_order(Path(store.full(CLIP.path)))
    with ClipReader(store).open(CLIP) as clip:
        assert len(clip) == len(expected)
        rng = np.random.default_rng(0)
        choices = [[0], [len(clip) - 1], list(range(len(clip))), [5, 5, 3, 20, 5]]
        choices += [rng.integers(0, len(clip), 6).tolist() for _ in range(6)]
        for indices in choices:  # one after another in an open clip, there and back
            assert torch.equal(clip.decode(indices), expected[indices])


@pytest.mark.parametrize("gop", [1, 30])
def test_beside_a_sound_frames_are_as_exact(tmp_path: Path, gop: int) -> None:
    store, source = Store(tmp_path / "store"), tmp_path / "source.mp4"
    drawn = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=30000/1001:duration=4"]
    command = [executable(), "-v", "error", *drawn, "-f", "lavfi", "-i", "sine=duration=4", str(source)]
    subprocess.run(command, check=True)
    path = Path(store.full(CLIP.path))
    path.parent.mkdir(parents=True)
    info = cut(source, 0.7, 3.1, ClipProfile(audio=True, gop=gop), path, 60)
    expected = decoded_in_order(path)
    assert len(expected) == info.num_frames
    assert torch.equal(read(store, list(range(info.num_frames))), expected)
    assert torch.equal(read(store, [50, 3, 31]), expected[[50, 3, 31]])


def test_no_more_of_a_clip_is_touched_than_is_wanted(tmp_path: Path) -> None:
    store = store_clip(tmp_path)
    path = Path(store.full(CLIP.path))
    whole = decoded_in_order(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # its index is at the front
    assert torch.equal(read(store, [0, 6, 12]), whole[[0, 6, 12]])
    with pytest.raises(Unreadable, match=r"clips/clip\.mp4 ends after \d+ of 70 frames"):
        read(store, [0, 69])


def test_damage_inside_a_clip_is_no_picture(tmp_path: Path) -> None:
    store = store_clip(tmp_path)
    path = Path(store.full(CLIP.path))
    content = bytearray(path.read_bytes())
    for start in range(len(content) // 2, len(content), 200):
        content[start : start + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=r"clips/clip\.mp4"):
        read(store, list(range(40, 70)))


def test_what_is_no_video_and_what_is_not_there_say_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StorageError, match=r"clips/clip\.mp4"):
        read(store, [0])
    store.write_bytes(CLIP.path, b"no video" * 1000)
    with pytest.raises(Unreadable, match=r"clips/clip\.mp4"):
        read(store, [0])


def test_a_playlist_that_is_named_mp4_opens_nothing(tmp_path: Path) -> None:
    store = store_clip(tmp_path)
    other = store.full("clips/other.mp4")
    Path(store.full(CLIP.path)).rename(other)
    store.write_bytes(CLIP.path, f"#EXTM3U\n#EXTINF:3,\n{other}\n#EXT-X-ENDLIST\n".encode())
    with pytest.raises(Unreadable, match=r"clips/clip\.mp4"):
        read(store, [0])


def test_both_readers_give_the_same_picture_up_to_jpegs_loss(tmp_path: Path, make_video: VideoMaker) -> None:
    source = make_video("source.mp4", num_frames=60)
    store = Store(tmp_path / "store")
    Path(store.full("clips")).mkdir(parents=True)
    cut(source, None, None, ClipProfile(), Path(store.full(CLIP.path)), 60)
    config = FramesConfig(num_frames=60, side_size=64, quality=95)
    frames, times = read_frames(Path(store.full(CLIP.path)), 60, 64)
    row = dict(clip_id="clip", variant=0, width=96, height=64, timestamps=times.tolist())
    write_part(store, "frames/a.parquet", [row | {"frames": [encode_jpeg(frame, config.quality) for frame in frames]}])
    indices = [0, 7, 29, 30, 31, 59, 7]
    clips = read(store, indices)
    stored = FrameReader(store).read("frames/a.parquet", 0).decode(indices)
    assert [read_number(picture) for picture in clips.permute(0, 2, 3, 1).numpy()] == indices
    assert [read_number(picture) for picture in stored.permute(0, 2, 3, 1).numpy()] == indices
    assert (clips.float() - stored.float()).abs().mean() < 1.5
    assert torch.equal(clips, torch.from_numpy(frames[indices]).permute(0, 3, 1, 2))  # before JPEG, to the bit


def dataset_of(store: Store, folder: Path, view: View, train: bool, **options: Any) -> ClipDataset:
    """Four clips of two classes, with the frames of each but without one stored frame."""
    rows = []
    for number in range(4):
        path = f"clips/{number}.mp4"
        if not (Path(store.full(path))).exists():
            Path(store.full("clips")).mkdir(parents=True, exist_ok=True)
            cut(draw_source(folder / "s.mp4", 40 + number), None, None, ClipProfile(), Path(store.full(path)), 60)
        row = dict(annotation_id=str(number), clip_id=str(number), label="ab"[number % 2], label_id=number % 2)
        row |= dict(split="train", source_id=str(number), status="ok", clip_path=path, num_variants=2)
        rows.append(row | dict(variants_path="frames/v.parquet", variants_row=0))
    manifest = pa.Table.from_pylist(rows, schema=MANIFEST)
    return ClipDataset(manifest, store, ["a", "b"], "train", view, train=train, **options)


def test_a_dataset_of_clips_is_read_like_one_of_frames(tmp_path: Path, make_view: MakeView) -> None:
    view, store = make_view(reader="clips", sampling_rate=6), Store(tmp_path / "store")
    data = dataset_of(store, tmp_path, view, train=True, data=DataConfig())
    assert len(data) == 4  # a clip has no variants
    here = [data[index]["video"] for index in range(4)]
    assert here[0].shape == (3, 4, 32, 32)
    loader = DataLoader(data, batch_size=4, num_workers=2, collate_fn=collate)
    assert torch.equal(next(iter(loader)).videos, torch.stack(here))
    Path(store.full("clips/2.mp4")).unlink()
    batch = collate([data[index] for index in range(4)])
    assert batch.weights.tolist() == [1, 1, 0, 1]
    assert [failure.clip_id for failure in batch.failures] == ["2"]


@pytest.mark.thorough
def test_clips_in_a_bucket_give_the_same(tmp_path: Path, make_view: MakeView, bucket: str) -> None:
    view, store = make_view(reader="clips", sampling_rate=6), Store(tmp_path / "store")
    local = dataset_of(store, tmp_path, view, train=False, num_views=2)
    remote = Store(bucket)
    for number in range(3):
        remote.write_bytes(f"clips/{number}.mp4", store.read_bytes(f"clips/{number}.mp4"))
    data = ClipDataset.__new__(ClipDataset)
    data.__dict__ |= local.__dict__ | {"_reader": ClipReader(remote)}
    expected = torch.stack([local[index]["video"] for index in range(3)])
    assert torch.equal(torch.stack([data[index]["video"] for index in range(3)]), expected)
    (batch,) = DataLoader(data, batch_size=4, num_workers=1, collate_fn=collate)
    assert torch.equal(batch.videos[:3], expected)
    assert [failure.clip_id for failure in batch.failures] == ["3"]
    assert "cannot read s3://" in batch.failures[0].reason


@pytest.mark.parametrize("sampling", ["random", "uniform"])
@pytest.mark.parametrize("fps", [None, 20.0])
def test_prediction_sees_of_a_video_what_the_clip_reader_saw_of_its_clip(
    tmp_path: Path, make_view: MakeView, sampling: str, fps: float | None
) -> None:
    store = store_clip(tmp_path, crf=0, fps=fps, short_side=72)
    stored = stored_frames({"clips": ClipProfile(fps=fps, short_side=72).model_dump(mode="json")}, "clips")
    view = make_view(reader="clips", sampling=sampling, sampling_rate=5, stored=stored)
    seen = view_frames(tmp_path / "source.mp4", view, num_views=2).frames.astype(
        int
    )  # enlarges nothing, and shrinks as ffmpeg
    with ClipReader(store).open(CLIP) as clip:
        indices = view_windows(len(clip), 4, view.sampling_rate, 2, view.sampling).flatten().clip(1, len(clip) - 2)
        same, earlier, later = (clip.decode((indices + by).tolist()).permute(0, 2, 3, 1).int() for by in (0, -1, 1))
    away = [np.abs(seen - other.numpy()).mean(axis=(1, 2, 3))[1:-1] for other in (same, earlier, later)]
    assert (away[0] < 0.5 * away[1]).all()
    assert (away[0] < 0.5 * away[2]).all()


def test_the_rate_counts_in_the_clips_own_frames(make_view: MakeView) -> None:
    data = DataConfig(reader="clips")
    native = stored_frames({"clips": {"fps": None, "short_side": 256}}, "clips")
    view = resolve_view("x3d_xs", data, native)
    assert (view.reader, view.num_frames, view.sampling_rate) == ("clips", 4, 12)  # the model's own, at 30 fps
    slow = stored_frames({"clips": {"fps": 2.0, "short_side": 256}}, "clips")
    assert resolve_view("x3d_xs", data, slow).sampling_rate == 6  # of twenty frames
