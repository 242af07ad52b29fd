"""Videos that already lie in a folder or a bucket."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

from vidclf.errors import Gone, StorageError, Unreachable
from vidclf.sources import Fetched, Source, Wanted, register
from vidclf.storage import Store, absolute_uri

EXTENSIONS = ("", ".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".gif")


@register("folder")
class Folder(Source):
    """``{path}/{source_id}``, with or without a video's extension; also where the list has whole paths into the folder."""

    path: Annotated[str, AfterValidator(absolute_uri)] = Field(
        description="folder, or any fsspec URI such as s3://bucket/videos"
    )
    prefix: str | None = Field(
        None,
        min_length=1,
        description="what the list's paths begin with on the machine where it was written, as /datasets/k400: taken off",
    )

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        """See ``Source.fetch``. An id that climbs out of the folder is ``Gone``."""
        source_id = self._within(wanted.source_id)
        store = Store(self.path)
        try:
            for extension in EXTENSIONS:
                name = source_id + extension
                if store.is_file(name):
                    local = into / f"video{PurePosixPath(name).suffix.lower()}"
                    store.get_file(name, local)
                    return Fetched(local)
            if store.is_local and not Path(store.root).is_dir():
                raise Unreachable(f"there is no folder {self.path}")
        except StorageError as error:
            raise Unreachable(str(error)) from error
        raise Gone(f"there is no video {source_id!r} in {self.path}")

    def _within(self, source_id: str) -> str:
        """The id as a path relative to the folder.

        Raises:
            Gone: it lies elsewhere.
        """
        for root in (self.prefix, self.path):
            if root is not None and source_id.startswith(f"{root.rstrip('/')}/"):
                source_id = source_id[len(root.rstrip("/")) :].lstrip("/")
                break
        if PurePosixPath(source_id).is_absolute() or ".." in PurePosixPath(source_id).parts:
            raise Gone(f"{source_id!r} lies outside of {self.path}")
        return source_id
