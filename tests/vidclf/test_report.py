"""The report: its numbers are the manifest's, it asks nothing of the network, and nothing hostile is more than text."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from tests.conftest import VideoMaker
from vidclf.clips import ANNOTATIONS, MANIFEST
from vidclf.config import AugmentConfig, ClipProfile, FramesConfig
from vidclf.ledger import Entry, LedgerWriter, scan
from vidclf.manifest import manifest, standing
from vidclf.plan import Plan, make_plan
from vidclf.recipes import Recipes
from vidclf.report import read_accounts, summary_markdown, write_report
from vidclf.report.draw import distribution
from vidclf.report.words import percent, playing_time, showable, size
from vidclf.snapshot import Snapshot, dataset_store, read_snapshot, write_snapshot
from vidclf.stages import augment, frames, transcode
from vidclf.storage import Store
from vidclf.takedown import STAGE as TAKEDOWN

HOSTILE = "<script>alert('label')</script>"
HOSTILE_MESSAGE = "<img src=x onerror=alert(1)> | [a](http://evil.example/) `b` \u202etxt.exe\n# heading"
RECIPES = Recipes("d", "c", "f", "a")
PROFILE = ClipProfile(short_side=64)
FRAMES = FramesConfig(num_frames=16, side_size=64)
AUGMENT = AugmentConfig(target_per_class=4, max_variants=2)
NOTICES = ("3 sources are in train and in test", "'a' & 'A' look like one <b>label</b>")


def annotations() -> pa.Table:
    """Two labels and none; one clip named twice; one that is gone, one blocked, one that makes no sense."""
    rows: list[dict[str, Any]] = [
        {"source_id": f"{label[:1].strip('<') or 'h'}{number}", "label": label, "split": split}
        for label in ("waving", HOSTILE)
        for number, split in enumerate(("train", "train", "val"))
    ]
    rows += [
        {"source_id": "w0", "label": "waving", "split": "train"},
        {"source_id": "test0", "split": "test"},
        {"source_id": "gone0", "label": "waving", "split": "train"},
        {"source_id": "gone1", "label": HOSTILE, "split": "val"},
        {"source_id": "blocked0", "label": "waving", "split": "train"},
        {"source_id": "senseless", "label": "waving", "split": "train", "problem": "time_end 1 is before time_start 2"},
    ]
    return pa.Table.from_pylist(rows, schema=ANNOTATIONS)


def ingest(store: Store, make_video: VideoMaker) -> None:
    """What a run leaves behind, made by the stages themselves from small videos."""
    plan = make_plan(annotations(), 2)
    for number in range(plan.num_shards):
        _ingest_shard(store, plan, number, make_video)
    variants = scan(store, augment.STAGE, RECIPES.augment)
    shares = dict(zip(variants["key"].to_pylist(), variants["num_variants"].to_pylist(), strict=True))
    settings = {"clips": PROFILE, "frames": FRAMES, "augment": AUGMENT}
    made_by = {name: config.model_dump(mode="json") for name, config in settings.items()}
    classes = sorted(plan.labels)
    rows = manifest(standing(store, plan, RECIPES), classes, shares, variants)
    write_snapshot(store, rows, classes, {**made_by, "recipes": RECIPES.identity})


def _ingest_shard(store: Store, plan: Plan, number: int, make_video: VideoMaker) -> None:
    clips = plan.shard(number)
    good = [clip for clip in clips if not clip.startswith(("gone", "blocked"))]
    entries = {stage: [] for stage in ("download", "transcode", "frames", "augment")}  # type: dict[str, list[Entry]]
    for clip in clips:
        source = f"sources/{clip}.mp4"
        if clip in good:
            length = 30 + int(hashlib.sha256(clip.encode()).hexdigest(), 16) % 40
            store.write_bytes(source, make_video(f"{clip}.mp4", num_frames=length).read_bytes())
            entries["download"].append(Entry(clip, "download", "d", source="folder", path=source, seconds=0.5))
            job = transcode.Job(
                store=store, keys=(clip,), recipe="c", source_path=source, begins_at=0.0, time_start=None,
                time_end=None, profile=PROFILE, timeout=60.0,
            )  # fmt: skip
            entries["transcode"] += transcode.do(job)
        else:
            kind = "gone" if clip.startswith("gone") else "blocked"
            failed = Entry(clip, "download", "d", "failed", kind, HOSTILE_MESSAGE, attempts=3, source="folder, youtube")
            entries["download"].append(failed)
    paths = tuple(f"clips/c/{clip}.mp4" for clip in good)
    entries["frames"] = frames.do(
        frames.Job(store=store, keys=tuple(good), recipe="f", shard=number, paths=paths, frames=FRAMES)
    )
    shares = tuple(
        augment.Share(entry.key, entry.path or "", entry.row or 0, 2)
        for entry in entries["frames"]
        if entry.key in ("w1", "test0")
    )
    if shares:
        keys = tuple(share.clip_id for share in shares)
        entries["augment"] = augment.do(
            augment.Job(store=store, keys=keys, recipe="a", shard=number, clips=shares, config=AUGMENT, quality=90)
        )
    for stage, done in entries.items():
        with LedgerWriter(store, stage, number, "run") as ledger:
            for entry in done:
                ledger.append(entry)


@dataclass(frozen=True)
class Dataset:
    store: Store
    snapshot: Snapshot


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs the dataset leaves it for the others."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def dataset(shelf: Path, tmp_path: Path, make_video: VideoMaker) -> Dataset:
    """A copy of its own for every test."""
    if not (shelf / "datasets").exists():
        ingest(dataset_store(str(shelf), "waves"), make_video)
    shutil.copytree(shelf / "datasets", tmp_path / "store/datasets")
    store = dataset_store(str(tmp_path / "store"), "waves")
    (stats,) = store.files_below("snapshots", "stats.json")
    return Dataset(store, read_snapshot(store, stats.split("/")[1]))


class Page(HTMLParser):
    """A report taken apart: elements, tables as rows of texts, headline numbers, all text."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, page: bytes):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.totals: dict[str, dict[str, str | None]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.text: list[str] = []
        self._open: list[str] = []
        self._cells: list[list[str]] | None = None
        self._total: str | None = None
        self.feed(page.decode())
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if tag in self.VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self._cells = self.tables.setdefault(values.get("class") or "", [])
        elif tag == "tr" and self._cells is not None:
            self._cells.append([])
        elif tag in ("td", "th") and self._cells is not None:
            self._cells[-1].append("")
        elif "data-total" in values:
            self._total = values["data-total"]
            self.totals[str(self._total)] = {"value": values.get("data-value"), "text": ""}

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "dd":
            self._total = None

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text.append(data)
        if self._total:
            self.totals[self._total]["text"] = str(self.totals[self._total]["text"]) + data
        elif {"td", "th"} & set(self._open) and self._cells:
            self._cells[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def body(self, table: str) -> list[list[str]]:
        """The rows of a table, below its header, without white space at the ends."""
        return [[cell.strip() for cell in row] for row in self.tables[table]]


def report(dataset: Dataset, **options: Any) -> Page:
    return Page(write_report(dataset.store, dataset.snapshot, **options))


def decoded(uri: str | None, media_type: str) -> bytes:
    prefix = f"data:{media_type};base64,"
    assert uri is not None
    assert uri.startswith(prefix)
    return base64.b64decode(uri.removeprefix(prefix), validate=True)


@pytest.mark.thorough
def test_the_numbers_are_the_manifests(dataset: Dataset) -> None:
    rows = dataset.snapshot.clips.to_pylist()
    page = report(dataset, clips_per_class=0)
    stored = {row["clip_id"]: row for row in rows if row["status"] != "failed"}
    status = Counter(row["status"] for row in rows)
    assert (status["ok"], status["failed"], status["unlabelled"], len(stored)) == (7, 4, 1, 7)
    for name in ("ok", "failed", "unlabelled"):
        assert page.totals[name]["text"] == str(status[name])
    assert page.totals["annotations"]["text"] == "12"
    assert page.totals["bytes"]["value"] == str(sum(row["bytes"] for row in stored.values()))
    assert float(str(page.totals["seconds"]["value"])) == pytest.approx(sum(row["duration"] for row in stored.values()))
    assert page.totals["variants"]["text"] == str(sum(row["num_variants"] for row in stored.values())) == "4"
    assert "1 annotations name a clip that another one names too: 7 clips are stored" in page.words

    _, splits, *labels, last = page.body("counts")
    assert splits == ["ok", "failed"] * 4
    expected: dict[str, list[int]] = {}
    for row in rows:
        counts = expected.setdefault(row["label"] or "(unlabelled)", [0] * 8)
        failed = row["status"] == "failed"
        counts[2 * ("train", "val", "test").index(row["split"]) + failed] += 1
        counts[6 + failed] += 1
    assert {row[0]: [int(cell) for cell in row[1:9]] for row in labels} == expected
    assert [int(cell) for cell in last[1:9]] == [sum(column) for column in zip(*expected.values(), strict=True)]


def test_failures_are_counted_by_kind_and_by_source_with_what_can_be_done(dataset: Dataset) -> None:
    page = report(dataset, clips_per_class=0)
    kinds = {row[0].split()[0]: row for row in page.body("kinds")[1:]}
    by_kind = {kind: (row[1], row[2]) for kind, row in kinds.items()}
    assert by_kind == {"gone": ("permanent", "2"), "blocked": ("open", "1"), "annotation": ("permanent", "1")}
    assert kinds["gone"][4].startswith("gone0")
    assert "time_end 1 is before time_start 2" in kinds["annotation"][4]
    sources = {row[0]: row[1:5] for row in page.body("sources")[1:]}
    assert sources == {
        "folder": ["8", "0", "0 %", ""],
        "folder, youtube": ["0", "3", "100 %", "2 gone, 1 blocked"],
        "none was asked": ["0", "1", "100 %", "1 annotation"],
    }
    assert "Open (1 blocked): run the same again" in page.words
    assert "--retry gone asks for them once more" in page.words
    failed = {row[0]: (row[1], row[3], row[5]) for row in page.body("failed")[1:]}
    assert failed.keys() == {"gone0", "gone1", "blocked0", "senseless"}
    assert failed["gone1"] == (HOSTILE, "gone", "3")


def test_the_slowest_and_the_largest_are_in_order_with_the_ledgers_seconds_and_the_manifests_bytes(
    dataset: Dataset,
) -> None:
    with LedgerWriter(dataset.store, "download", 0, "later") as ledger:
        ledger.append(Entry("w1", "download", "d", source="youtube", path="sources/w1.mp4", attempts=2, seconds=99.25))
    page = report(dataset, clips_per_class=0)
    header, slowest, *_ = page.body("slowest")
    row = dict(zip(header, slowest, strict=True))
    assert (row["clip"], row["source"], row["attempts"], row["download"], row["all"]) == (
        "w1", "youtube", "2", "99.25", "99.25",
    )  # fmt: skip
    stored = {row["clip_id"]: row["bytes"] for row in dataset.snapshot.clips.to_pylist() if row["bytes"]}
    largest = [(row[0], int(row[3].replace(",", ""))) for row in page.body("largest")[1:]]
    assert largest == sorted(stored.items(), key=lambda clip: (-clip[1], clip[0]))


def test_only_the_first_failed_rows_are_listed_with_the_count_of_the_rest(tmp_path: Path) -> None:
    base = {"label": "a", "label_id": 0, "split": "train", "source_id": "s", "status": "failed", "error_kind": "gone"}
    rows = [{**base, "annotation_id": f"{n:05d}", "clip_id": f"{n:05d}", "error_message": "no"} for n in range(1234)]
    store = dataset_store(str(tmp_path), "dead")
    snapshot = write_snapshot(store, pa.Table.from_pylist(rows, schema=MANIFEST), ["a"], {"recipes": {}})
    page = report(Dataset(store, snapshot))
    assert len(page.body("failed")) == 1 + 500
    assert "The first 500; 734 more are in snapshots/" in page.words
    assert "There are no clips." in page.words
    assert "| **gone** | permanent | 1,234 |" in summary_markdown(snapshot, read_accounts(store, snapshot))


def test_nothing_comes_from_elsewhere_and_nothing_runs(dataset: Dataset) -> None:
    data = write_report(dataset.store, dataset.snapshot, notices=NOTICES)
    page = Page(data)
    for tag, attrs in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        for name, value in attrs.items():
            assert not name.startswith("on"), f"{tag} {name}"
            if name in ("src", "href", "poster", "srcset", "data", "action"):
                assert value is not None
                assert value.startswith(("data:", "#")), f"{tag} {name}={value[:60]}"
    (style,) = re.findall(r"<style>(.*?)</style>", data.decode(), re.DOTALL)
    assert not re.search(r"url\(|@import|http", style)
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"


def test_what_others_wrote_stays_text(dataset: Dataset) -> None:
    data = write_report(dataset.store, dataset.snapshot, notices=NOTICES)
    assert b"<script" not in data
    assert b"<img src=x" not in data
    assert "\u202e" not in data.decode()
    page = Page(data)
    assert HOSTILE in [row[0] for row in page.body("counts")]
    assert "<img src=x onerror=alert(1)> | [a](http://evil.example/) `b` \ufffdtxt.exe" in page.words
    assert "'a' & 'A' look like one <b>label</b>" in page.words


def test_the_clips_play_and_their_strips_are_pictures_of_them(dataset: Dataset) -> None:
    page = report(dataset, clips_per_class=2)
    rows = {row["clip_id"]: row for row in dataset.snapshot.clips.to_pylist()}
    videos = page.all("video")
    assert len(videos) == 5  # two of each label, and the one without
    for video in videos:
        row = rows[str(video["aria-label"]).split(",")[0].removeprefix("Clip ")]
        data = decoded(video["src"], "video/mp4")
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        with av.open(io.BytesIO(data)) as container:
            assert sum(1 for _ in container.decode(video=0)) == row["num_frames"]
        assert ("controls" in video, video["preload"], decoded(video["poster"], "image/jpeg")[:2]) == (
            True, "none", b"\xff\xd8",
        )  # fmt: skip
    assert len(page.all("img")) == 8 * (5 + 2 + 2)
    for image in page.all("img"):
        with Image.open(io.BytesIO(decoded(image["src"], "image/jpeg"))) as picture:
            assert (str(picture.width), str(picture.height)) == (image["width"], image["height"])
            assert picture.height <= 112


def test_variants_are_shown_beside_their_original_wherever_a_class_has_some(dataset: Dataset) -> None:
    page = report(dataset, clips_per_class=1)
    strips = [str(attrs["aria-label"]) for attrs in page.all("div") if attrs.get("class") == "frames"]
    of_w1 = [strip for strip in strips if "clip w1," in strip]
    assert [strip.split(", ")[2] for strip in of_w1] == ["original", "variant 1", "variant 2"]
    assert strips.index(of_w1[2]) - strips.index(of_w1[0]) == 2
    assert len([strip for strip in strips if "original" in strip]) == 3


def test_large_frames_become_small_pictures(tmp_path: Path, dataset: Dataset) -> None:
    noise = Image.effect_noise((640, 360), 30).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG", quality=95)
    row = dataset.snapshot.clips.filter(pc.equal(dataset.snapshot.clips["status"], "unlabelled")).to_pylist()[0]
    part = dataset.store.read_table(row["frames_path"]).to_pylist()
    part[row["frames_row"]]["frames"] = [buffer.getvalue()] * 16
    frames.write_part(dataset.store, row["frames_path"], part)
    pictures = {(image["width"], image["height"]) for image in report(dataset).all("img")}
    assert ("199", "112") in pictures


def test_the_page_is_the_same_whenever_it_is_written(dataset: Dataset) -> None:
    first = write_report(dataset.store, dataset.snapshot, notices=NOTICES)
    accounts = read_accounts(dataset.store, dataset.snapshot)
    assert write_report(dataset.store, dataset.snapshot, notices=NOTICES, accounts=accounts) == first


def test_pictures_come_before_videos_and_what_does_not_fit_is_left_out_and_said(dataset: Dataset) -> None:
    whole = len(write_report(dataset.store, dataset.snapshot))
    bare = len(write_report(dataset.store, dataset.snapshot, max_bytes=1))
    assert bare < 60_000
    seen = []
    for max_bytes in np.linspace(bare + 1000, whole + 40_000, 12).astype(int).tolist():
        data = write_report(dataset.store, dataset.snapshot, max_bytes=max_bytes)
        assert len(data) <= max_bytes
        page = Page(data)
        pictures, videos = len(page.all("img")), len(page.all("video"))
        seen.append((pictures, videos))
        assert videos == 0 or pictures == 72
        assert ("For want of room it leaves out" in page.words) == ((pictures, videos) != (72, 5))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == ((0, 0), (72, 5))
    assert any(0 < pictures < 72 for pictures, _ in seen)
    assert any(0 < videos < 5 for _, videos in seen)


def test_a_clip_or_a_part_that_is_not_there_any_more_is_a_note(dataset: Dataset) -> None:
    rows = {row["clip_id"]: row for row in dataset.snapshot.clips.to_pylist()}
    lost, broken = rows["w1"], rows["test0"]
    dataset.store.delete(lost["clip_path"])
    dataset.store.write_bytes(broken["clip_path"], b"another file")
    for path in {row["frames_path"] for row in rows.values() if row["frames_path"]}:
        dataset.store.delete(path)
    dataset.store.write_bytes(lost["variants_path"], b"no parquet")
    page = report(dataset)
    assert len(page.all("video")) == 3
    assert page.words.count("The frames cannot be read: cannot read") >= 5
    assert "The clip cannot be read: cannot read" in page.words
    assert f"clips/c/test0.mp4 has 12 bytes; in the manifest it has {broken['bytes']:,}." in page.words


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"frames": [b"no picture"] * 16}, "The frames cannot be read: cannot identify image file"),
        ({"frames": []}, "has no frames."),
        ({"timestamps": []}, "The frames cannot be read: list index out of range"),
        ({"clip_id": "w0"}, "holds another clip."),
    ],
)
def test_a_row_of_frames_that_is_none_is_a_note(dataset: Dataset, change: dict[str, Any], note: str) -> None:
    row = next(row for row in dataset.snapshot.clips.to_pylist() if row["clip_id"] == "test0")
    part = dataset.store.read_table(row["frames_path"]).to_pylist()
    part[row["frames_row"]] |= change
    frames.write_part(dataset.store, row["frames_path"], part)
    assert note in report(dataset).words


def test_a_clip_that_was_taken_out_is_not_shown_although_its_files_are_still_there(dataset: Dataset) -> None:
    with LedgerWriter(dataset.store, TAKEDOWN, 0, "takedown") as ledger:
        ledger.append(Entry("w1", TAKEDOWN, ""))
    page = report(dataset)
    shown = {str(video["aria-label"]).split(",")[0] for video in page.all("video")}
    assert shown.isdisjoint({"Clip w1"})
    assert len(shown) == 5


def test_it_can_be_read_aloud(dataset: Dataset) -> None:
    page = report(dataset, notices=NOTICES)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all("alt" in image for image in page.all("img"))
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in page.all("svg"))
    assert all(th.get("scope") in ("col", "row", "colgroup") for th in page.all("th"))
    regions = [attrs for _, attrs in page.elements if attrs.get("role") == "region"]
    assert all(region["aria-label"] and region["tabindex"] == "0" for region in regions)
    assert page.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize(
    "values",
    [
        np.full(7, 10.0),
        np.array([0.0, 0.0]),
        np.linspace(9.0, 10.0, 500),
        np.r_[np.linspace(1, 2, 1000), 900.0],
        np.geomspace(1e3, 1e8, 300),
        np.array([24.0, 25.0, 25.0, 29.97]),
    ],
)
def test_every_value_is_in_a_bar_and_every_bar_in_the_picture(values: np.ndarray) -> None:
    chart = distribution("Duration", values, lambda value: f"{value:g}")
    assert sum(int(bar.title.rsplit(": ", 1)[1].replace(",", "")) for bar in chart.bars) == len(values)
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= 360
        assert 0 <= bar.y <= bar.y + bar.height <= chart.height
    assert all(0 <= text.x <= 360 for text in chart.texts)


def test_the_short_version_has_the_counts_and_nothing_hostile(dataset: Dataset) -> None:
    said = summary_markdown(dataset.snapshot, read_accounts(dataset.store, dataset.snapshot))
    assert "12 annotations: 7 ok, 4 failed, 1 unlabelled. 7 clips," in said
    assert "| class | train | val | test | all |" in said
    assert "| waving | 3 (3) | 1 |  | 4 (3) |" in said
    assert "| **all** | 5 (3) | 2 (1) | 1 | 8 (4) |" in said
    assert "| **blocked** | open | 1 | blocked0 |" in said
    assert "| folder, youtube | 0 | 3 | 100 % | 2 gone, 1 blocked | blocked0 |" in said
    assert "- Open (1 blocked): run the same again" in said
    assert "<script" not in said
    assert "<img" not in said
    assert r"\| \[a\](http\://evil.example/) \`b\`" in said
    assert {line.count(" | ") for line in said.splitlines() if line.startswith("| **gone")} == {4}
    assert "\n# heading" not in said


def test_numbers_read_as_people_write_them() -> None:
    assert [size(number) for number in (0, 999, 1000, 27_449, 999_499, 1e9)] == [
        "0 B", "999 B", "1 kB", "27.4 kB", "999 kB", "1 GB",
    ]  # fmt: skip
    assert [playing_time(number) for number in (48, 774, 6_436_800)] == ["48 s", "12.9 min", "1,788 h"]
    assert [percent(*pair) for pair in ((0, 9), (1, 99_999), (99_998, 99_999), (9, 9), (0, 0))] == [
        "0 %", "0.1 %", "99.9 %", "100 %", "0 %",
    ]  # fmt: skip
    assert showable("a\x00b\u202ec" + "d" * 400, 10) == "a\ufffdb\ufffdcdddd…"


@pytest.mark.integration
def test_a_dataset_in_a_bucket_has_the_same_page_as_in_a_folder(dataset: Dataset, bucket: str) -> None:
    remote = dataset_store(bucket, "waves")
    for path in dataset.store.files_below("", ""):
        name = path.lstrip("/")
        remote.write_bytes(name, dataset.store.read_bytes(name))
    in_folder = write_report(dataset.store, dataset.snapshot, notices=NOTICES)
    assert write_report(remote, dataset.snapshot, notices=NOTICES) == in_folder
    assert in_folder.count(b"<video") == 5
