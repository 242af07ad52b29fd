"""Names of clips are safe as file names, and do not collide; a clip's shard never changes."""

from __future__ import annotations

import pytest

from vidclf.clips import clip_id, safe_name, shard_of


@pytest.mark.parametrize("text", ["../../etc/passwd", "a b", "", ".", "..", "a/b.mp4", "ä" * 300, "\ud800"])
def test_any_id_makes_a_safe_file_name(text: str) -> None:
    name = safe_name(text)
    assert name.encode("ascii").decode() == name
    assert "/" not in name
    assert name not in ("", ".", "..")
    assert len(name) < 120


def test_names_that_would_collide_do_not() -> None:
    assert safe_name("a b") != safe_name("a-b")
    assert clip_id("x", 1.5, 2.25) == "x_000001500ms_000002250ms"
    assert clip_id("x", 1.0, 2.0) == "x_000001_000002"


def test_a_clips_shard_depends_on_its_source_alone() -> None:
    assert [shard_of("abc", 7), shard_of("abc", 7)] == [shard_of("abc", 7)] * 2
    assert len({shard_of(str(number), 7) for number in range(200)}) == 7
