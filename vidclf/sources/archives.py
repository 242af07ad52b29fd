from vidclf.sources import Source


class ArchiveSource(Source):
    pass
