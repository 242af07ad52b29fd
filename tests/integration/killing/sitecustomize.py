"""Kills processes at named points, for tests. Python imports this module at its start where its folder is on the path.

``$KILLS`` is a folder with a ``kills.json``: a list of ``{"at", "path", "when", "by", "nth", "victim"}``.

    at       replace, link, remove (of a file), open (for writing), child (a process is started)
    path     a pattern of the file's path, or of the child's command line
    when     before or after it
    by       driver, worker (of Ray)
    nth      which time, counted over all processes
    victim   self, driver, child, or node: a worker's raylet, and the worker with it

Each kill happens once in a folder's life, and leaves a file ``{its number in the list}.killed`` there. Nothing here
touches what is killed: the file system's calls are wrapped, not the code that makes them.
"""

from __future__ import annotations

import fcntl
import fnmatch
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DRIVER = "KILLS_DRIVER"  # the variable with its process id, inherited by all others


def install(folder: Path, kills: list[dict[str, Any]]) -> None:
    os.environ.setdefault(DRIVER, str(os.getpid()))

    def reached(at: str, when: str, path: str, child: int | None = None) -> None:
        for number, kill in enumerate(kills):
            is_it = (kill["at"], kill["when"], kill["by"]) == (at, when, role()) and fnmatch.fnmatch(path, kill["path"])
            if is_it and count(folder / f"{number}.count") == kill["nth"]:
                (folder / f"{number}.killed").touch()
                for pid in victims(kill["victim"], child):
                    os.kill(pid, signal.SIGKILL)

    def wrapped(name: str, path_of: Callable[..., Any]) -> None:
        original = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            path = os.fspath(path_of(*args))
            reached(name, "before", path)
            result = original(*args, **options)
            reached(name, "after", path)
            return result

        setattr(os, name, call)

    def heard(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR):
            reached("open", "before", args[0])

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, args: Any, *rest: Any, **options: Any):
            command = args if isinstance(args, str) else " ".join(map(str, args))
            reached("child", "before", command)
            super().__init__(args, *rest, **options)
            reached("child", "after", command, self.pid)

    wrapped("replace", lambda source, to, **_: to)
    wrapped("link", lambda source, to, **_: to)
    wrapped("remove", lambda path, **_: path)
    sys.addaudithook(heard)
    subprocess.Popen = Popen  # type: ignore[misc]


def role() -> str:
    if os.getpid() == int(os.environ[DRIVER]):
        return "driver"
    return "worker" if sys.argv and sys.argv[0].endswith("default_worker.py") else "other"


def victims(name: str, child: int | None) -> list[int]:
    if name == "child":
        assert child is not None
        return [child]
    if name == "node":
        assert Path(f"/proc/{os.getppid()}/comm").read_text() == "raylet\n"
        return [os.getppid(), os.getpid()]
    return [os.getpid() if name == "self" else int(os.environ[DRIVER])]


def count(path: Path) -> int:
    """One more, and how many that makes."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b".")
        file.flush()
        return file.tell()


if "KILLS" in os.environ:
    install(Path(os.environ["KILLS"]), json.loads((Path(os.environ["KILLS"]) / "kills.json").read_text()))
