"""What must be right about a training before anything is started for it."""

from __future__ import annotations

from vidclf.models import build, require
from vidclf.models.blocks import blocks
from vidclf.training.freezing import stages
from vidclf.training.plan import EpochPlan
from vidclf.training.work import TrainingWork, open_split, open_training_data


def check(work: TrainingWork) -> None:
    """Look at the data, the batches, the weights' name and the blocks; one line about the first thing that is wrong.

    Raises:
        ConfigError: a split has no clip, the training split one class only, a label is unknown, a batch is larger than
            the data or cannot be shared, the model has no such weights or blocks, or does not take such views.
    """
    config = work.config
    train_data, _ = open_training_data(work)
    if config.test_split is not None:
        open_split(work.store, config.dataset, work.snapshot_id, work.classes, config.test_split, work.view, 1)
    EpochPlan.of(len(train_data), config, 0, config.num_workers)
    require(config.model).origin(config.weights)
    if config.optim.freeze not in ("none", "backbone"):  # numbers mean something to a model that is built
        model = build(config.model, len(work.classes), work.view.num_frames, work.view.crop_size)
        stages(config.optim, len(blocks(model)))
