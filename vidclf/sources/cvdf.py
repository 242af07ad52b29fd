"""The public mirror of the Kinetics datasets: https://github.com/cvdfoundation/kinetics-dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import quote, unquote, urlsplit

from pydantic import AfterValidator, Field

from vidclf.errors import Unreachable
from vidclf.redaction import shown
from vidclf.sources import Wanted, register
from vidclf.sources._tars import read_head
from vidclf.sources.archives import ArchiveSource
from vidclf.storage import absolute_uri

MAX_LIST = 4 << 20  # bytes; the longest has 50 KB

ROOT = "https://s3.amazonaws.com/kinetics"


@dataclass(frozen=True)
class Layout:
    """Where a dataset lies, as the mirror's README and download scripts have it."""

    folder: str
    paths: str  # of a split, which file lists the archives
    annotations: Mapping[str, str]  # split → file below the base, or an address elsewhere
    before: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # archives that no list names, and that count more


_CSV = {split: f"annotations/{split}.csv" for split in ("train", "val", "test")}
_2020 = "{split}/k700_2020_{split}_path.txt"

LAYOUTS: dict[str, Layout] = {
    "400": Layout(
        "400",
        "{split}/k400_{split}_path.txt",
        _CSV,
        # 1,300 and more clips of the training set whose files were damaged
        before={"train": ("replacement_for_corrupted_k400.tgz",)},
    ),
    # its train.csv and val.csv are "incomplete", says the mirror
    "600": Layout("600", "{split}/k600_{split}_path.txt", {**_CSV, "train": "annotations/train.txt", "val": "annotations/val.txt"}),
    # "Kinetics-700 and Kinetics-700-2020 videos can both be found here"; the CSV files there are those of 2020
    "700": Layout("700_2020", _2020, {"all": "https://storage.googleapis.com/deepmind-media/Datasets/kinetics700.tar.gz"}),
    "700_2020": Layout("700_2020", _2020, _CSV),
}  # fmt: skip


def _base(uri: str) -> str:
    if "@" in urlsplit(uri).netloc:
        raise ValueError("a user or password in an address would be seen by everybody who sees the configuration")
    return absolute_uri(uri).rstrip("/")


@register("cvdf")
class CVDF(ArchiveSource):
    """Clips of Kinetics, cut already, in tars of about 1.5 GB each: no YouTube, and what has been removed there too."""

    dataset: Literal["400", "600", "700", "700_2020"] = Field("700_2020", description="which Kinetics")
    base: Annotated[str, AfterValidator(_base)] | None = Field(
        None, description="another mirror of the same layout: http(s), s3:// or a folder; None: the public one"
    )

    @property
    def root(self) -> str:
        """The folder that holds ``train``, ``val``, ``test`` and ``annotations``."""
        return self.base or f"{ROOT}/{self._layout.folder}"

    @property
    def _layout(self) -> Layout:
        return LAYOUTS[self.dataset]

    def host(self, wanted: Wanted) -> str | None:
        """The web server, or the bucket; None for a local folder."""
        return urlsplit(self.root).netloc or None

    def annotation_uris(self) -> dict[str, str]:
        """Split → address of its annotations. Kinetics-700 has one tar.gz for all splits, under ``all``."""
        files = self._layout.annotations
        return {split: file if "://" in file else f"{self.root}/{file}" for split, file in files.items()}

    def listed(self, split: str) -> list[str]:
        """See ``ArchiveSource.listed``: what the split's path list names, which lies beside it."""
        uri = f"{self.root}/{self._layout.paths.format(split=split)}"
        data = read_head(uri, MAX_LIST + 1, self.timeout)
        try:
            lines = [line.strip() for line in data.decode().splitlines()]
        except UnicodeDecodeError:
            lines = [""]
        names = [_file_name(line) for line in lines if line]
        if not names or None in names or len(data) > MAX_LIST:
            raise Unreachable(f"{shown(uri) if '://' in uri else uri} is no list of archives")
        before = [f"{self.root}/{name}" for name in self._layout.before.get(split, ())]
        return before + list(dict.fromkeys(f"{self.root}/{split}/{self._written(str(name))}" for name in names))

    def rank(self, uri: str) -> int:
        """See ``ArchiveSource.rank``: replacements of damaged clips go first."""
        before = {f"{self.root}/{name}" for names in self._layout.before.values() for name in names}
        return -1 if uri in before else 0

    def _written(self, name: str) -> str:
        """A file name as a part of an address: some archives are named after classes, with spaces."""
        return quote(name) if self.root.startswith(("http://", "https://")) else name


def _file_name(line: str) -> str | None:
    """The archive's name in a line of a path list, which holds an address of the public mirror; None: it is none.

    Only the name counts, so that a copy of the mirror serves its own archives, and a list cannot send us elsewhere.
    """
    name = unquote(line.rpartition("/")[2])
    plain = name.isprintable() and not set(name) & set("/\\?#")
    return name if plain and re.search(r"\.(tar|tar\.gz|tgz)$", name) else None
