"""Staging from tars: each is read as often as it must be, what counts does not hang on timing, and nothing is left over."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from prefect.logging import disable_run_logger

from tasks.archives import SHARD, stage_archives
from tasks.cluster import cluster
from tasks.download import download_videos
from tasks.ray_names import SharedNames
from tasks.run import IngestRun, ingest_run
from tasks.transcode import transcode_clips
from tests.conftest import VideoMaker
from vidclf.clips import ANNOTATIONS
from vidclf.config import IngestConfig, parse
from vidclf.ledger import Entry, LedgerWriter, scan
from vidclf.plan import make_plan
from vidclf.stages.archive import STAGE

pytestmark = pytest.mark.integration
SALSA, YOGA = "salsa dancing", "yoga"
CLIPS = {SALSA: ["id00000000a", "id00000000b"], YOGA: ["id00000000c"]}


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with cluster(), disable_run_logger():
        yield


def clip_id(source: str) -> str:
    return f"{source}_000000_000002"


class Mirror:
    """The public mirror in a folder, a class per tar, with runs that read from it."""

    def __init__(self, folder: Path, make_video: VideoMaker):
        self.folder, self.make_video = folder, make_video
        self.dataset = "600"
        self.options: dict[str, Any] = {}
        self.execution: dict[str, Any] = {"num_shards": 1, "keep_sources": False}
        self.retry: tuple[str, ...] = ()
        self.clips = dict(CLIPS)
        for position, (label, sources) in enumerate(CLIPS.items()):
            self.write(f"train/part_{position}.tar.gz", {f"{label}/{clip_id(name)}.mp4": name for name in sources})
        self.list(BOTH)
        (folder / "videos").mkdir()

    def list(self, names: Sequence[str]) -> None:
        for kinetics in ("400", "600"):
            (self.folder / f"train/k{kinetics}_train_path.txt").write_text("\n".join(names))

    def write(self, path: str, members: Mapping[str, str]) -> None:
        """A tar of videos, by the names of videos that are drawn once."""
        target = self.folder / path
        target.parent.mkdir(exist_ok=True, parents=True)
        with tarfile.open(target, "w:gz") as tar:
            for member, name in members.items():
                drawn = self.folder / f"drawn/{name}.mp4"
                if not drawn.exists():
                    self.make_video(f"mirror/drawn/{name}.mp4", num_frames=20 + len(name))
                info = tarfile.TarInfo(member)
                info.size = drawn.stat().st_size
                tar.addfile(info, io.BytesIO(drawn.read_bytes()))

    @contextlib.contextmanager
    def run(self, **settings: Any) -> Iterator[IngestRun]:
        values = {
            "dataset": "d",
            "store": str(self.folder / "store"),
            "annotations": {"path": "unused"},
            "sources": [
                {"kind": "cvdf", "dataset": self.dataset, "base": str(self.folder), **self.options},
                {"kind": "folder", "path": str(self.folder / "videos")},
            ],
            "clips": {"short_side": 32, "preset": "ultrafast"},
            "execution": {**self.execution, "retry": self.retry},
        }
        rows = [
            {"source_id": name, "label": label, "split": "train", "time_start": 0.0, "time_end": 2.0}
            for label, names in self.clips.items()
            for name in names
        ]
        with ingest_run(parse(IngestConfig, {**values, **settings})) as run:
            run.plan = make_plan(pa.Table.from_pylist(rows, schema=ANNOTATIONS), 1)
            yield run

    def stage(self, **settings: Any) -> list[str]:
        """Stage alone; the names of the tars that were read."""
        with self.run(**settings) as run:
            stage_archives.fn(run)
            return read_by(run)

    def make(self, **settings: Any) -> list[str]:
        """Up to the clips; the names of the tars that were read."""
        with self.run(**settings) as run:
            stage_archives.fn(run)
            download_videos.fn(run, 0)
            transcode_clips.fn(run, 0)
            return read_by(run)

    @property
    def sources(self) -> set[str]:
        folder = self.folder / "store/datasets/d/sources"
        return {path.name.removesuffix(".mp4") for path in folder.glob("*")} if folder.exists() else set()

    def account(self, change: Mapping[str, Any], tars: Sequence[str]) -> None:
        """Rewrite what the ledger says of these tars."""
        with self.run() as run:
            rows = scan(run.store, STAGE, None).to_pylist()
            with LedgerWriter(run.store, STAGE, SHARD, "earlier") as ledger:
                for row in rows:
                    if Path(row["key"]).name in tars:
                        ledger.append(replace(Entry(**row), finished_at=None, **change))


def read_by(run: IngestRun) -> list[str]:
    rows = scan(run.store, STAGE, None).to_pylist()
    return sorted(Path(row["key"]).name for row in rows if row["run_id"] == run.run_id)


@pytest.fixture
def mirror(tmp_path: Path, make_video: VideoMaker) -> Mirror:
    return Mirror(tmp_path / "mirror", make_video)


BOTH = ["part_0.tar.gz", "part_1.tar.gz"]
CRASHED = {"outcome": "failed", "error_kind": "crashed", "error_message": "ran out of memory"}


def test_a_tar_whose_reader_crashed_is_opened_again_and_the_others_are_not(mirror: Mirror) -> None:
    assert mirror.stage() == BOTH
    mirror.account(CRASHED, ["part_1.tar.gz"])
    (mirror.folder / f"store/datasets/d/sources/{clip_id(CLIPS[YOGA][0])}.mp4").unlink()
    assert mirror.make() == ["part_1.tar.gz"]
    assert mirror.make() == []


def test_a_retry_opens_those_tars_again_that_failed_in_that_way(mirror: Mirror) -> None:
    mirror.clips[YOGA] = [*CLIPS[YOGA], "id00000000d"]
    mirror.list([*BOTH, "part_2.tar.gz"])
    assert mirror.make() == [*BOTH, "part_2.tar.gz"]  # the third one is not there
    assert mirror.make() == []
    mirror.write("train/part_2.tar.gz", {f"{YOGA}/{clip_id('id00000000d')}.mp4": "id00000000d"})
    assert mirror.make() == []  # settled
    mirror.retry = ("gone",)
    assert mirror.make() == ["part_2.tar.gz"]
    with mirror.run() as run:
        assert len(run.store.files_below("clips")) == 4


def test_a_replacement_counts_whichever_tar_is_read_last(mirror: Mirror) -> None:
    mirror.dataset = "400"  # which has one
    twice = CLIPS[SALSA][0]
    mirror.write(
        "replacement_for_corrupted_k400.tgz",
        {f"replacement_for_corrupted_k400/{clip_id(twice)}.mp4": "the replacement"},
    )
    assert mirror.stage() == [*BOTH, "replacement_for_corrupted_k400.tgz"]
    staged = mirror.folder / f"store/datasets/d/sources/{clip_id(twice)}.mp4"
    assert staged.read_bytes() == (mirror.folder / "drawn/the replacement.mp4").read_bytes()
    mirror.account(CRASHED, ["part_0.tar.gz"])
    (staged.parent / f"{clip_id(CLIPS[SALSA][1])}.mp4").unlink()
    assert mirror.stage() == ["part_0.tar.gz"]
    assert staged.read_bytes() == (mirror.folder / "drawn/the replacement.mp4").read_bytes()


def test_a_grown_list_with_other_frames_stages_the_clips_alone_that_are_not_made(mirror: Mirror) -> None:
    assert mirror.make() == BOTH
    assert mirror.make(frames={"num_frames": 2}) == []
    new = "id00000000d"
    mirror.clips[YOGA] = [*CLIPS[YOGA], new]
    mirror.write("train/part_1.tar.gz", {f"{YOGA}/{clip_id(name)}.mp4": name for name in mirror.clips[YOGA]})
    assert mirror.stage(frames={"num_frames": 2}) == ["part_1.tar.gz"]
    assert mirror.sources == {clip_id(new)}


def test_another_profile_reads_the_tars_again_whose_clips_were_not_kept_and_only_those(mirror: Mirror) -> None:
    assert mirror.make() == BOTH
    other = {"clips": {"short_side": 16, "preset": "ultrafast"}}
    assert mirror.make(**other) == BOTH
    with mirror.run() as run, LedgerWriter(run.store, "transcode", 0, "earlier") as ledger:
        key = clip_id(CLIPS[YOGA][0])
        ledger.append(Entry(key, "transcode", run.recipes.clips, "failed", "crashed", "died"))
    assert mirror.make() == []
    mirror.retry = ("crashed",)
    assert mirror.make() == ["part_1.tar.gz"]
    assert mirror.sources == set()


def test_kept_sources_serve_another_profile_without_any_tar(mirror: Mirror) -> None:
    mirror.execution["keep_sources"] = True
    assert mirror.make() == BOTH
    assert len(mirror.sources) == 3
    assert mirror.make(clips={"short_side": 16, "preset": "ultrafast"}) == []
    assert len(mirror.sources) == 3


@pytest.mark.parametrize("keep", [False, True])
def test_what_was_staged_and_came_from_elsewhere_goes(mirror: Mirror, keep: bool) -> None:
    name = CLIPS[YOGA][0]
    mirror.execution["keep_sources"] = keep
    mirror.list(BOTH[:1])
    mirror.make_video(f"mirror/videos/{name}.mp4", num_frames=60)
    assert mirror.make() == BOTH[:1]
    there = mirror.sources
    assert there == ({name, *(clip_id(other) for other in CLIPS[SALSA])} if keep else set())
    mirror.list(BOTH)
    (mirror.folder / f"store/datasets/d/sources/{clip_id(name)}.mp4").write_bytes(b"staged for nobody")
    assert mirror.stage() == []
    assert mirror.sources == there


def test_how_a_mirror_is_asked_reads_no_tar_again(mirror: Mirror) -> None:
    mirror.stage()
    (mirror.folder / f"store/datasets/d/sources/{clip_id(CLIPS[YOGA][0])}.mp4").unlink()
    mirror.options = {"pause": 5, "timeout": 7}
    assert mirror.stage() == []
    mirror.options = {"max_member_bytes": 1 << 20}
    assert mirror.stage() == ["part_1.tar.gz"]


def test_shared_names_are_found_wherever_they_travel() -> None:
    import ray

    names = SharedNames([clip_id("b"), clip_id("-a"), "c_000000001ms_000000002ms"])
    asked = [clip_id("b"), clip_id("-a"), clip_id("c"), "", "zzz", "c_000000001ms_000000002ms"]

    def found(names: SharedNames) -> list[bool]:
        return [name in names for name in asked]

    assert found(names) == ray.get(ray.remote(found).remote(names)) == [True, True, False, False, False, True]
    assert "x" not in SharedNames([])
