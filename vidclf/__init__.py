"""Video classifiers from annotation lists."""

__version__ = "0.1.0"
