"""Sources deliver a file, or say why not in a kind that decides what happens next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import VideoMaker
from vidclf.errors import Blocked, ConfigError, Gone, SourceError, Unreachable
from vidclf.sources import Source, parse_source
from vidclf.sources.folder import Folder
from vidclf.sources.youtube import explain
from vidclf.stages.download import Job, do, recipe_of
from vidclf.storage import Store


def test_a_folder_finds_a_video_with_and_without_its_extension(make_video: VideoMaker, tmp_path: Path) -> None:
    make_video("videos/-odd id.mp4", num_frames=2)
    for name in ("-odd id", "-odd id.mp4"):
        into = tmp_path / name
        into.mkdir()
        assert Folder(path=str(tmp_path / "videos")).fetch(name, into).stat().st_size > 0


@pytest.mark.parametrize("source_id", ["missing", "../secret", "/etc/passwd"])
def test_what_a_folder_does_not_hold_is_gone(source_id: str, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "secret").write_text("x")
    with pytest.raises(Gone):
        Folder(path=str(tmp_path / "videos")).fetch(source_id, tmp_path)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("ERROR: [youtube] x: Video unavailable", Gone),
        ("ERROR: [youtube] x: Private video. Sign in if you've been granted access", Gone),
        ("ERROR: [youtube] x: This video has been removed by the uploader", Gone),
        ("ERROR: [youtube] x: The uploader's account has been terminated", Gone),
        ("ERROR: [youtube] x: The uploader has not made this video available in your country", Gone),
        ("ERROR: [youtube] x: Sign in to confirm you’re not a bot", Blocked),
        ("ERROR: unable to download: HTTP Error 429: Too Many Requests", Blocked),
        ("ERROR: unable to download video data: HTTP Error 403: Forbidden", Blocked),
        ("ERROR: [youtube] x: Unable to download API page: <urlopen error timed out>", Unreachable),
    ],
)
def test_what_yt_dlp_says_is_understood(message: str, kind: type[SourceError]) -> None:
    assert type(explain(message)) is kind


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"kind": "ftp"}, "source kind 'ftp' is unknown; there are: folder, generated, youtube"),
        ({"kind": "folder"}, "option 'path'"),
        ({"kind": "folder", "path": "x", "colour": 1}, "option 'colour'"),
    ],
)
def test_a_wrong_source_is_named(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_source(options)


class Failing(Source):
    """Raises what it is told to."""

    def fetch(self, source_id: str, into: Path) -> Path:
        raise {"gone": Gone, "blocked": Blocked}[source_id]("because")


def test_the_next_source_is_asked_where_one_has_not_got_it(make_video: VideoMaker, tmp_path: Path) -> None:
    make_video("videos/gone.mp4", num_frames=2)
    Failing.kind = "failing"
    store = Store(tmp_path / "store")
    entry = do(Job(store, "gone", "r", "gone", (Failing(), Folder(path=str(tmp_path / "videos")))))
    assert (entry.source, entry.path) == ("folder", "sources/gone.mp4")
    assert store.exists("sources/gone.mp4")


def test_an_error_that_may_pass_outweighs_a_permanent_one(tmp_path: Path) -> None:
    Failing.kind = "failing"
    (tmp_path / "videos").mkdir()
    job = Job(Store(tmp_path / "store"), "k", "r", "blocked", (Folder(path=str(tmp_path / "videos")), Failing()))
    with pytest.raises(Blocked, match=r"folder: there is no video 'blocked'.*failing: because"):
        do(job)


def test_a_folder_that_is_not_there_says_nothing_of_its_videos(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="there is no folder"):
        Folder(path=str(tmp_path / "not mounted")).fetch("a", tmp_path)


def test_what_one_list_of_sources_could_not_deliver_another_may(tmp_path: Path) -> None:
    one, two = Folder(path=str(tmp_path / "one")), Folder(path=str(tmp_path / "two"))
    assert recipe_of([one]) == recipe_of([Folder(path=str(tmp_path / "one"))])
    assert len({recipe_of([one]), recipe_of([two]), recipe_of([one, two]), recipe_of([two, one])}) == 4
