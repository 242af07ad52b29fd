"""Classes of a dataset and classes of a model, matched by name."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vidclf.errors import ConfigError


@dataclass(frozen=True)
class LabelMap:
    """Which class of a model each label of a dataset is."""

    known: dict[str, str]  # label → class of the model
    unknown: tuple[str, ...]  # labels that the model has no class for


def match_labels(labels: Sequence[str], classes: Sequence[str]) -> LabelMap:
    """Match exactly, or else but for case, punctuation and underscores, where that is unambiguous.

    Raises:
        ConfigError: the model knows none of the labels.
    """
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_plain(name), []).append(name)
    exact = set(classes)
    known = {}
    for label in labels:
        found = alike.get(_plain(label), [])
        if label in exact:
            known[label] = label
        elif len(found) == 1:
            known[label] = found[0]
    if not known:
        some = ", ".join(list(classes)[:5])
        raise ConfigError(f"the model knows none of the {len(labels)} classes: its own are {some}, …")
    return LabelMap(known, tuple(label for label in labels if label not in known))


@functools.cache
def kinetics400_classes() -> tuple[str, ...]:
    """The classes of weights that were trained on Kinetics-400, in the order of their outputs: sorted by name.

    torchvision brings the list with its own weights. pytorchvideo's are in the same order, see
    https://dl.fbaipublicfiles.com/pyslowfast/dataset/class_names/kinetics_classnames.json.
    """
    from torchvision.models.video import R3D_18_Weights

    return tuple(R3D_18_Weights.KINETICS400_V1.meta["categories"])


def _plain(name: str) -> str:
    return " ".join(re.findall(r"\w+", name.casefold().replace("_", " ")))
