"""Download: sources in their order, one fetch for what shares it, and a host's pause is no failure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from vidclf.errors import Blocked, Gone, Postponed, SourceError, StorageError, Unreachable
from vidclf.politeness import SILENCES, Gate
from vidclf.sources import Fetched, Source, Wanted
from vidclf.sources.folder import Folder
from vidclf.sources.mirror import Mirror
from vidclf.sources.youtube import YouTube
from vidclf.stages.download import Job, do, in_units, recipe_of
from vidclf.storage import Store


class Told(Source):
    """A source that does what it is told, and remembers what it was asked."""

    kind: ClassVar[str] = "told"
    name: str = "told"
    error: str = ""
    section: bool = False
    lacks: tuple[str, ...] = ()  # clip_ids
    asked: ClassVar[list[tuple[str, str]]] = []

    def host(self, wanted: Wanted) -> str:
        return f"{self.name}.example"

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        Told.asked.append((self.name, wanted.clip_id))
        if self.error == "full":
            try:
                Path("/dev/full").write_bytes(b"x")
            except OSError:
                raise Unreachable("unable to write data") from None  # as libraries do
        if self.error and (not self.lacks or wanted.clip_id in self.lacks):
            raise {"gone": Gone, "blocked": Blocked, "unreachable": Unreachable}[self.error](
                f"{self.name}: {self.error}"
            )
        path = into / "video.MP4"
        path.write_bytes(self.name.encode())
        if not self.section:
            return Fetched(path)
        return Fetched(path, (wanted.time_start or 0.0) - 0.5, (wanted.time_end or 0.0) + 0.5)


@pytest.fixture(autouse=True)
def nothing_asked() -> None:
    Told.asked.clear()


@pytest.fixture
def gate() -> Gate:
    return Gate(sleep=lambda seconds: None)


def clips(*starts: float, source: str = "v") -> tuple[Wanted, ...]:
    return tuple(Wanted(source, f"{source}_{start:g}", start, start + 2) for start in starts)


def job(tmp_path: Path, gate: Gate, sources: Sequence[Source], wanted: tuple[Wanted, ...] = clips(1)) -> Job:
    keys = tuple(clip.clip_id for clip in wanted)
    return Job(store=Store(tmp_path), keys=keys, recipe="r", wanted=wanted, sources=tuple(sources), gate=gate)


def test_the_first_source_that_has_the_video_wins(tmp_path: Path, gate: Gate) -> None:
    sources = [Told(name="one", error="gone"), Told(name="two"), Told(name="three")]
    (entry,) = do(job(tmp_path, gate, sources))
    assert (entry.path, entry.source, entry.bytes) == ("sources/v.mp4", "told", 3)
    assert [name for name, _ in Told.asked] == ["one", "two"]


def test_a_whole_video_is_fetched_once_for_all_its_clips(tmp_path: Path, gate: Gate) -> None:
    entries = do(job(tmp_path, gate, [Told()], clips(1, 40, 80)))
    assert [(entry.key, entry.path) for entry in entries] == [(f"v_{start}", "sources/v.mp4") for start in (1, 40, 80)]
    assert len(Told.asked) == 1


def test_a_section_serves_the_clips_that_lie_in_it(tmp_path: Path, gate: Gate) -> None:
    entries = do(job(tmp_path, gate, [Told(section=True)], clips(10, 10.25, 50)))
    assert [(entry.path, entry.begins_at) for entry in entries] == [
        ("sources/v_10.mp4", 9.5), ("sources/v_10.mp4", 9.5), ("sources/v_50.mp4", 49.5),
    ]  # fmt: skip
    assert len(Told.asked) == 2


@pytest.mark.parametrize("error", ["gone", "blocked", "unreachable"])
def test_a_section_that_fails_costs_neither_those_before_it_nor_those_behind_it(
    error: str, tmp_path: Path, gate: Gate
) -> None:
    sources = [Told(name="one", section=True, error=error, lacks=("v_40",)), Told(name="two", error="gone")]
    unit = job(tmp_path, gate, sources, clips(1, 40, 80))
    entries = do(unit)
    assert [(entry.key, entry.path) for entry in entries] == [("v_1", "sources/v_1.mp4")]
    failing, other = unit.rest({entry.key for entry in entries})
    assert (failing.keys, other.keys) == (("v_40",), ("v_80",))
    if error != "blocked":
        with pytest.raises(SourceError):
            do(failing)
        assert do(other)[0].path == "sources/v_80.mp4"
    assert ("one", "v_1") in Told.asked
    assert Told.asked.count(("one", "v_1")) == 1


def test_sections_that_wait_for_their_turn_are_fetched_once_each(tmp_path: Path, gate: Gate) -> None:
    unit = job(tmp_path, gate, [Told(section=True, rate=60)], clips(1, 40))
    assert [entry.key for entry in do(unit)] == ["v_1"]
    (later,) = unit.rest(["v_1"])
    with pytest.raises(Postponed):
        do(later)
    assert Told.asked == [("told", "v_1")]


def test_clips_of_one_video_are_one_job_unless_a_source_has_them_one_by_one() -> None:
    class ByClip(Told):
        def unit(self, wanted: Wanted) -> str:
            return wanted.clip_id

    wanted = (*clips(1, 2), *clips(1, source="w"))
    assert [len(unit) for unit in in_units(wanted, [Told()])] == [2, 1]
    assert [len(unit) for unit in in_units(wanted, [Told(), ByClip()])] == [1, 1, 1]


@pytest.mark.parametrize(
    ("errors", "kind"),
    [(["gone", "gone"], Gone), (["gone", "unreachable"], Unreachable), (["unreachable", "blocked"], Blocked)],
)
def test_where_no_source_delivers_the_error_that_leaves_most_hope_counts(
    errors: list[str], kind: type[SourceError], tmp_path: Path, gate: Gate
) -> None:
    sources = [Told(name=f"s{number}", error=error) for number, error in enumerate(errors)]
    with pytest.raises(kind) as raised:
        do(job(tmp_path, gate, sources))
    assert "told: s0: " in str(raised.value)
    assert "told: s1: " in str(raised.value)


def test_a_closed_host_is_waited_for_unless_another_source_has_the_video(tmp_path: Path, gate: Gate) -> None:
    gate.blocked("one.example", "HTTP 429", retry_after=60, pause=1)
    assert do(job(tmp_path, gate, [Told(name="one"), Told(name="two")]))[0].bytes == 3
    with pytest.raises(Postponed, match="HTTP 429"):
        do(job(tmp_path, gate, [Told(name="one"), Told(name="two", error="gone")]))


def test_who_waits_for_a_turn_does_not_ask_the_sources_before_again(tmp_path: Path, gate: Gate) -> None:
    first, second = Told(name="first", error="gone"), Told(name="second", rate=60)
    gate.turn("second.example", "somebody else", 60)
    with pytest.raises(Postponed) as postponed:
        do(job(tmp_path, gate, [first, second]))
    assert postponed.value.why == ""
    later = postponed.value.then
    assert isinstance(later, Job)
    with pytest.raises(Postponed):
        do(later)
    assert Told.asked == [("first", "v_1")]


def test_a_block_closes_the_host_for_everybody(tmp_path: Path, gate: Gate) -> None:
    with pytest.raises(Blocked):
        do(job(tmp_path, gate, [Told(name="one", error="blocked")]))
    with pytest.raises(Postponed):
        gate.turn("one.example", "another worker", None)


def test_a_folder_asks_nobodys_leave(tmp_path: Path, gate: Gate) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "v.mp4").write_bytes(b"x")
    source = Folder(path=str(tmp_path / "videos"))
    assert source.host(clips(1)[0]) is None
    assert do(job(tmp_path, gate, [source]))[0].path == "sources/v.mp4"


def test_the_manner_of_asking_is_no_part_of_the_recipe() -> None:
    assert recipe_of([Told()]) == recipe_of([Told(rate=5, pause=1)])
    assert recipe_of([YouTube()]) == recipe_of([YouTube(sleep=3, rate_limit=1000, rate=None)])
    assert recipe_of([Mirror(uri="/m/{id}.mp4")]) == recipe_of([Mirror(uri="/m/{id}.mp4", timeout=99)])
    assert recipe_of([Told()]) != recipe_of([Told(name="other")])
    assert recipe_of([Told(), Folder(path="/a")]) != recipe_of([Folder(path="/a"), Told()])


def test_an_option_that_a_later_version_adds_reopens_nothing() -> None:
    class Newer(Told):
        added: int = 5

    assert recipe_of([Newer()]) == recipe_of([Told()])
    assert recipe_of([Newer(added=6)]) != recipe_of([Told()])


def test_a_full_disk_is_neither_the_hosts_fault_nor_the_clips(tmp_path: Path, gate: Gate) -> None:
    for _ in range(2 * SILENCES):
        with pytest.raises(StorageError, match=r"No space left on device in .* TMPDIR"):
            do(job(tmp_path, gate, [Told(name="one", error="full"), Told(name="two")]))
    assert gate.closed() == []
    assert {name for name, _ in Told.asked} == {"one"}


def test_while_the_first_host_is_closed_the_turns_of_the_others_are_not_missed(tmp_path: Path) -> None:
    now = [1000.0]
    gate = Gate(lambda: now[0], lambda seconds: None)
    gate.blocked("first.example", "HTTP 429", retry_after=3600, pause=1)
    gate.turn("rated.example", "somebody else", 60)
    waiting = job(tmp_path, gate, [Told(name="first"), Told(name="rated", rate=60)])
    with pytest.raises(Postponed) as postponed:
        do(waiting)
    assert (postponed.value.host, postponed.value.until) == ("rated.example", 1060)
    now[0] = postponed.value.until
    later = postponed.value.then
    assert isinstance(later, Job)
    assert do(later)[0].bytes == len("rated")
