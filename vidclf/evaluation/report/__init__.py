"""Evaluations to look at: self-contained pages that open from disk, and the same charts as pictures for MLflow.

``choose`` picks what is shown, ``charts`` makes geometry of numbers, ``page`` puts it together; frames, videos and the
style are those of ``vidclf.report``.
"""

from vidclf.evaluation.report.figures import figures
from vidclf.evaluation.report.page import write_gallery, write_report

__all__ = ["figures", "write_gallery", "write_report"]
