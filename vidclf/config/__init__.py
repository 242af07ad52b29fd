"""The configuration of every job, as frozen pydantic models: a wrong name or value is refused before anything starts.

A deployment's parameters in ``prefect.yaml``, a file given by ``--config`` and ``--set key=value`` are all this, and
nothing else. Each group is one flow parameter, so that one group can be replaced alone.
"""

from vidclf.config.base import Frozen, Identifier, Split, fingerprint, parse
from vidclf.config.comparing import CompareConfig
from vidclf.config.evaluating import EvaluateConfig, JudgingConfig, ReportingConfig
from vidclf.config.ingest import (
    LABEL_OPTIONS,
    AnnotationsConfig,
    AugmentConfig,
    ClipProfile,
    ExecutionConfig,
    FramesConfig,
    IngestConfig,
    PublishConfig,
    ReportConfig,
)
from vidclf.config.retraining import RetrainConfig
from vidclf.config.training import DataConfig, OptimConfig, TrainConfig, Unfreezing

__all__ = [
    "LABEL_OPTIONS",
    "AnnotationsConfig",
    "AugmentConfig",
    "ClipProfile",
    "CompareConfig",
    "DataConfig",
    "EvaluateConfig",
    "ExecutionConfig",
    "FramesConfig",
    "Frozen",
    "Identifier",
    "IngestConfig",
    "JudgingConfig",
    "OptimConfig",
    "PublishConfig",
    "ReportConfig",
    "ReportingConfig",
    "RetrainConfig",
    "Split",
    "TrainConfig",
    "Unfreezing",
    "fingerprint",
    "parse",
]
