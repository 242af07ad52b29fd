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
    """``{path}/{source_id}``, with or without a video's extension."""

    path: Annotated[str, AfterValidator(absolute_uri)] = Field(
        description="folder, or any fsspec URI such as s3://bucket/videos"
    )

    def fetch(self, wanted: Wanted, into: Path) -> Fetched:
        """See ``Source.fetch``. An id that climbs out of the folder is ``Gone``."""
        source_id = wanted.source_id
        if PurePosixPath(source_id).is_absolute() or ".." in PurePosixPath(source_id).parts:
            raise Gone(f"{source_id!r} lies outside of {self.path}")
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
