"""The documentation as data: its pages, their fenced blocks, and the commands in these."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = ("console", "sh")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^# ([\w./-]+\.(?:py|yaml))\b")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    page: str  # relative to the project's folder
    line: int  # of its first line, from 1
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that it is the content of: its first line is a comment with the name."""
        found = _FILE.match(self.text)
        return found.group(1) if found else None

    @property
    def commands(self) -> list[str]:
        """Of a shell block, one line each, without comments: of a session those behind ``$``, without what they answer."""
        text = self.text.replace("\\\n", " ")
        lines = [re.sub(r"(^|\s+)# .*", "", line).strip() for line in text.splitlines()]
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in order."""
    text = page.read_text()
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, text.count("\n", 0, found.start()) + 2, found.group(1), found.group(2))
        for found in _FENCE.finditer(text)
        if not languages or found.group(1) in languages
    ]


def all_blocks(*languages: str) -> list[Block]:
    """The same of every page."""
    return [block for page in PAGES for block in blocks(page, *languages)]


def words_of(command: str) -> list[str]:
    """What the shell makes of it, but for patterns; without the variables set in front."""
    words = shlex.split(command)
    while words and _ASSIGNMENT.match(words[0]):
        words = words[1:]
    return words


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text())


def spans(page: Path) -> Iterator[str]:
    """What stands between single backquotes, in one line."""
    for found in re.finditer(r"(?<!`)`([^`]+)`(?!`)", prose(page)):
        yield " ".join(found.group(1).split())
