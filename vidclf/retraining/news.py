"""Whether a challenger is due: because of new clips, of the calendar, or because somebody said so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vidclf.config import RetrainConfig

Labelled = tuple[str, str]  # clip_id, label


@dataclass(frozen=True)
class Due:
    """Whether to train, and why or why not."""

    train: bool
    reason: str  # a clause that goes on after "because"


def training_clips(clips: pa.Table, split: str) -> frozenset[Labelled]:
    """What a training on this split of a manifest learns from: a clip that is labelled anew counts as another."""
    rows = clips.filter(
        pc.and_(pc.equal(clips["split"], split), pc.and_(pc.equal(clips["status"], "ok"), pc.is_valid(clips["label"])))
    )
    return frozenset(zip(rows["clip_id"].to_pylist(), rows["label"].to_pylist(), strict=True))


def due(
    config: RetrainConfig,
    here: Collection[Labelled],
    known: Collection[Labelled],
    has_champion: bool,
    age_days: float | None,
) -> Due:
    """Decide.

    Args:
        config: the bounds.
        here: training clips of the snapshot.
        known: those that the champion, or the challenger that was judged last, learned from.
        has_champion: whether there is one.
        age_days: since the younger of the two was registered; None: there is neither.
    """
    new = len(set(here) - set(known))
    said = f"{new:,} of {len(here):,} training clips are new"
    if config.force:
        return Due(True, f"force is set ({said})")
    if not has_champion:
        return Due(True, f"{config.model_name} has no champion ({said})")
    least = max(config.min_new_clips, config.min_new_share * len(known))
    if new >= least:
        return Due(True, said)
    if config.max_age_days is not None and age_days is not None and age_days >= config.max_age_days:
        return Due(True, f"the last training is {age_days:.1f} days old ({said})")
    wanted = f"fewer than min_new_clips, {config.min_new_clips:,}"
    if new >= config.min_new_clips:
        wanted = f"fewer than {config.min_new_share:.1%} (min_new_share) of the {len(known):,} known"
    return Due(False, f"{said}, {wanted}")
