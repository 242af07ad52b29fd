"""Sources whose clips lie in large tars: no clip can be fetched alone, so they are staged, a tar at a time."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import Field

from vidclf.errors import Gone, Unreachable
from vidclf.redaction import shown
from vidclf.sources import Fetched, Source, Wanted
from vidclf.sources._classes import that_may_hold
from vidclf.sources._tars import TarStream, first_folder, opened_stream, read_head

HEAD = 1 << 16  # bytes of a tar that are read to see the folder of its first file
PROBES = 8  # heads read at a time
PROBE_ATTEMPTS = 3

#: ``{id}_{start:06d}_{end:06d}``, the clip_id of whole seconds
CLIP_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}_[0-9]{6,9}_[0-9]{6,9}")
CLIP_SUFFIXES = (".mp4", ".mkv", ".webm")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """One tar, plain or gzipped."""

    uri: str
    split: str
    rank: int = 0  # lower ones are read first; where two hold the same clip, that of the lower rank counts


class ArchiveSource(Source):
    """Base of sources that deliver whole archives. Subclasses say which there are: ``listed`` and ``host``.

    Clips are staged before the stage that downloads; ``fetch`` only says of a clip that was not in them that it is
    gone.
    """

    timeout: float = Field(60.0, gt=0, description="seconds of silence after which the host counts as down")
    max_member_bytes: int = Field(
        1 << 30, ge=1, description="an archive with a larger file in it is refused from there on"
    )

    def listed(self, split: str) -> list[str]:
        """URIs of all archives of a split (train, val, test).

        Raises:
            SourceError: the list could not be read.
        """
        raise NotImplementedError

    def rank(self, uri: str) -> int:
        """Which archives go before others: where two hold the same clip, that of the lower rank counts.

        Archives of one rank are read at the same time and in no order, so no two of them should hold the same clip.
        """
        return 0

    def unit(self, wanted: Wanted) -> str:
        """A clip of its own: archives hold clips that are cut already."""
        return wanted.clip_id

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        """Raises ``Gone``: what the archives hold was staged, and this was not among it."""
        raise Gone(f"{wanted.clip_id!r} is not in the archives")

    def archives(self, labels_by_split: Mapping[str, Collection[str]]) -> list[Archive]:
        """The archives that may hold a clip of these classes.

        Where the archives of a split hold one class each, those of other classes are left out. Which class it is says
        the folder of an archive's first file, never its number: the head of each is read. Where no folder is one of
        the wanted classes, folders are no classes as far as anybody can tell, and all archives are taken.

        Args:
            labels_by_split: split → the wanted classes; none where the annotations have no labels, which takes all.

        Raises:
            SourceError: a list or a head could not be read.
        """
        chosen = []
        for split, labels in labels_by_split.items():
            uris = self.listed(split)
            if labels:
                wanted = that_may_hold(labels, split, dict(zip(uris, self._first_folders(uris), strict=True)))
                log.info("%s: %d of %d archives may hold what is wanted", split, len(wanted), len(uris))
                uris = wanted
            chosen += [Archive(uri, split, self.rank(uri)) for uri in uris]
        return chosen

    def members(self, archive: Archive, into: Path, wanted: Container[str] | None = None) -> Iterator[tuple[str, Path]]:
        """The clips in an archive, one by one as they come by: ``({id}_{start:06d}_{end:06d}, local file)``.

        A file is handed out when all of it is there; it then belongs to the caller, who moves or deletes it. What has
        not a clip's name, whatever its folder, is passed over, and so are links, devices and empty files. That no bit
        of a file was turned on the way, gzip's checksum tells only at the archive's end.

        Args:
            into: a local folder for the files.
            wanted: names to hand out; the others are read past and not written. None: all.

        Raises:
            Gone: the archive is not there, or refused for what it declares (a file or header of absurd size, a sparse
                file); it would be so the next time, too.
            Blocked, Unreachable: the host; also, after the last clip that was whole, an archive that is damaged or cut
                short.
            OSError: ``into`` cannot be written.
        """
        with opened_stream(archive.uri, self.timeout) as stream:
            tar = TarStream(stream, archive.uri)
            for info in tar.files():
                if info.size > self.max_member_bytes:
                    raise Gone(
                        f"{shown(archive.uri)}: refused, {info.name[:80]!r} declares {info.size:,} bytes and "
                        f"max_member_bytes allows {self.max_member_bytes:,}"
                    )
                name = clip_name(info.name)
                if name is None or info.size == 0 or (wanted is not None and name not in wanted):
                    continue
                local = into.absolute() / f"{name}{PurePosixPath(info.name).suffix.lower()}"
                tar.save(info, local)
                yield name, local

    def _first_folders(self, uris: Sequence[str]) -> list[tuple[str, ...] | None]:
        pool = ThreadPoolExecutor(PROBES, thread_name_prefix="probe")
        try:
            return list(pool.map(self._first_folder, uris))
        finally:
            pool.shutdown(cancel_futures=True)  # who was blocked asks no more

    def _first_folder(self, uri: str) -> tuple[str, ...] | None:
        """None where it cannot be seen: then the archive may hold anything, and whoever reads it is told what is wrong."""
        for _ in range(PROBE_ATTEMPTS):
            try:
                return first_folder(read_head(uri, HEAD, self.timeout))
            except Gone:
                return None
            except Unreachable:
                continue
        return None


def clip_name(member: str) -> str | None:
    """The clip's name if a member of an archive is a clip: its folder does not matter, but must not climb."""
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or path.suffix.lower() not in CLIP_SUFFIXES:
        return None
    return path.stem if CLIP_NAME.fullmatch(path.stem) else None
