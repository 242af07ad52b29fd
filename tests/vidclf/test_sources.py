"""Sources deliver a file, or say why not in a kind that decides what happens next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import VideoMaker
from vidclf.errors import ConfigError, Gone, Unreachable
from vidclf.generated.choreography import State, programme
from vidclf.sources import Wanted, load_all, parse_source
from vidclf.sources.folder import Folder


def test_a_folder_finds_a_video_with_and_without_its_extension(make_video: VideoMaker, tmp_path: Path) -> None:
    make_video("videos/-odd id.mp4", num_frames=2)
    for name in ("-odd id", "-odd id.mp4"):
        into = tmp_path / name
        into.mkdir()
        fetched = Folder(path=str(tmp_path / "videos")).fetch(Wanted(name, "clip", 1.0, 2.0), into)
        assert fetched.path.stat().st_size > 0
        assert (fetched.begins_at, fetched.ends_at) == (0.0, None)


@pytest.mark.parametrize("prefix", [None, "/datasets/k400", "/datasets/k400/", "old"])
def test_a_list_may_have_whole_paths_into_the_folder_here_or_on_another_machine(
    prefix: str | None, make_video: VideoMaker, tmp_path: Path
) -> None:
    folder = make_video("videos/train/a.mp4", num_frames=2).parents[1]
    source = Folder(path=str(folder), prefix=prefix)
    names = [f"{folder}/train/a.mp4", f"{folder}/train/a", "train/a.mp4"]
    names += [f"{prefix.rstrip('/')}/train/a.mp4"] if prefix else []
    for number, name in enumerate(names):
        into = tmp_path / str(number)
        into.mkdir()
        assert source.fetch(Wanted(name, "clip"), into).path.stat().st_size > 0
    (tmp_path / "secret").write_text("x")
    for outside in (f"{folder}/../secret", f"{folder}er/a.mp4", f"{prefix}/../secret", f"{tmp_path}/secret"):
        with pytest.raises(Gone):
            source.fetch(Wanted(outside, "clip"), tmp_path)


@pytest.mark.parametrize("source_id", ["missing", "../secret", "/etc/passwd"])
def test_what_a_folder_does_not_hold_is_gone(source_id: str, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "secret").write_text("x")
    with pytest.raises(Gone):
        Folder(path=str(tmp_path / "videos")).fetch(Wanted(source_id, "clip"), tmp_path)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"kind": "ftp"}, "source kind 'ftp' is unknown; there are: cvdf, folder, generated, mirror, pytube"),
        ({"kind": "folder"}, "option 'path'"),
        ({"kind": "folder", "path": "x", "colour": 1}, "option 'colour'"),
    ],
)
def test_a_wrong_source_is_named(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_source(options)


def test_a_folder_that_is_not_there_says_nothing_of_its_videos(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="there is no folder"):
        Folder(path=str(tmp_path / "not mounted")).fetch(Wanted("a", "clip"), tmp_path)


def test_a_folder_costs_nobodys_patience_and_delivers_whole_videos(tmp_path: Path) -> None:
    source = Folder(path=str(tmp_path))
    wanted = Wanted("a", "clip", 1.0, 2.0)
    assert (source.host(wanted), source.unit(wanted), source.rate) == (None, "a", None)


def test_the_generated_set_is_drawn_and_holds_dead_videos(tmp_path: Path) -> None:
    source = parse_source({"kind": "generated"})
    by_state = {video.state: source_id for source_id, video in programme(0).items()}
    fetched = source.fetch(Wanted(by_state[State.GOOD], "clip"), tmp_path)
    assert fetched.path.stat().st_size > 0
    for source_id in (by_state[State.DEAD], "not in the set"):
        with pytest.raises(Gone):
            source.fetch(Wanted(source_id, "clip"), tmp_path)


def test_every_kind_of_source_documents_its_options_and_takes_no_secret() -> None:
    for kind, source in load_all().items():
        assert source.kind == kind
        assert source.__doc__
        for name, option in source.model_fields.items():
            assert option.description or name == "seed", f"{kind}.{name}"
            assert not {"password", "token", "key", "cookies", "proxy", "secret"} & set(name.split("_"))
