"""Folders for work in progress: gone with the work, and gone after a kill -9 too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vidclf.errors import StorageError
from vidclf.scratch import scratch_folder, sweep

WORKER = """
import subprocess, sys
from vidclf.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "video.mp4").write_bytes(bytes(1000))
    child = subprocess.Popen(["sleep", "60"])
    print(folder, child.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is remembered
    return tmp_path / f"vidclf-scratch-{os.getuid()}"


@contextmanager
def worker() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process at work, with a child that outlives it, and its folder."""
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder, child = process.stdout.readline().split()
        try:
            yield process, Path(folder)
        finally:
            process.kill()
            os.kill(int(child), signal.SIGKILL)


def test_a_folder_is_empty_and_goes_with_its_block(root: Path) -> None:
    with scratch_folder() as first, scratch_folder() as second:
        assert first != second
        assert first.parent == second.parent == root
        assert not list(first.iterdir())
        (first / "deep").mkdir()
        (first / "deep/file").write_text("x")
    assert not list(root.iterdir())
    assert root.stat().st_mode & 0o777 == 0o700


def test_a_failure_leaves_nothing(root: Path) -> None:
    with pytest.raises(IsADirectoryError), scratch_folder() as folder:
        folder.read_bytes()
    assert not list(root.iterdir())


def test_what_a_killed_process_left_goes_when_the_next_one_works() -> None:
    with worker() as (process, left):
        process.kill()
        process.wait()
        assert (left / "video.mp4").exists()
        with scratch_folder():
            assert not left.exists()


def test_the_folders_of_those_who_work_are_left_alone() -> None:
    with worker() as (_, others), scratch_folder() as mine:
        sweep()
        assert mine.exists()
        assert (others / "video.mp4").exists()


def test_many_at_once_never_lose_a_folder_to_each_other(root: Path) -> None:
    lost: list[Path] = []

    def work() -> None:
        for _ in range(100):
            with scratch_folder() as folder:
                (folder / "file").write_text("x")
                if not (folder / "file").exists():
                    lost.append(folder)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost
    assert not list(root.iterdir())


def test_sweeping_where_nothing_was_ever_done_does_nothing(root: Path) -> None:
    sweep()
    assert not root.exists()


def test_a_place_that_cannot_be_used_is_named(root: Path) -> None:
    root.write_text("in the way")
    with pytest.raises(StorageError, match=f"no temporary folder in {root}: File exists; set TMPDIR"), scratch_folder():
        pass
