"""Checkpoints of models that learned nothing, small and quick, whose answers differ from video to video all the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidclf.data.view import StoredFrames, View
from vidclf.evaluation.clips import EvaluationClips
from vidclf.evaluation.metrics import video_predictions
from vidclf.evaluation.scoring import score
from vidclf.models import build, checkpoint
from vidclf.models.checkpoint import ModelCard
from vidclf.snapshot import Snapshot
from vidclf.storage import Store

CLASSES = ("salsa dancing", "tango/dancing", 'a label, with "quotes" and $x_1$')


def view_of(stored: StoredFrames, **changes: Any) -> View:
    values: dict[str, Any] = {"num_frames": 4, "sampling_rate": 1, "side_size": 32, "crop_size": 32, "stored": stored}
    values |= {"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)}
    return View(**(values | changes))


def loud(model: nn.Module, view: View) -> nn.Module:
    """Used to pictures of bars, and with a last layer that takes their differences apart: its answers are far from each other."""
    bars = torch.randint(0, 2, (24, 1, view.num_frames, 1, 8), generator=torch.Generator().manual_seed(0))
    views = bars.repeat_interleave(view.crop_size // 8, dim=4).expand(24, 3, view.num_frames, view.crop_size, -1)
    videos = (views.float() - 0.45) / 0.225
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        model.train()
        for _ in range(10):
            model(videos)
        logits = model.eval()(videos)
        factor = 2 / logits.std(dim=0)
        last.bias.copy_((last.bias - logits.mean(dim=0)) * factor)
        last.weight.mul_(factor[:, None])
    return model


def save_untrained(
    folder: Path, view: View, classes: Sequence[str] = CLASSES, model: str = "x3d_xs", seed: int = 0, **card: Any
) -> Path:
    """A finished checkpoint in ``folder``."""
    torch.manual_seed(seed)
    built = loud(build(model, len(classes), view.num_frames, view.crop_size, dropout=0.0), view)
    values = {"weights": "none", "snapshot_id": "0123456789abcdef", "train_config": {}, **card}
    checkpoint.save(
        Store(folder.parent), folder.name, built, ModelCard(model=model, classes=tuple(classes), view=view, **values)
    )
    return folder


def evaluated(folder: Path, snapshot: Snapshot, store: Store, split: str, num_views: int) -> dict[str, list[float]]:
    """clip_id → probabilities, as the evaluation of the checkpoint in ``folder`` has them."""
    model, card = checkpoint.load(folder)
    data = EvaluationClips(snapshot.clips, store, card.classes, split, card.view, num_views)
    videos = video_predictions(score(model, data)).to_pylist()
    return {row["clip_id"]: row["probabilities"] for row in videos}
