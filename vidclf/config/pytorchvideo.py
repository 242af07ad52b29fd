"""Settings of the project "Video classification with PyTorchVideo" (UCF Sports) as settings of the flow ``train``.

Its configuration file has seventeen keys. ``--config`` takes such a file as it is:

=======================  ===============================================================================================
``dataset_path`` …       not used: videos come from the dataset that an ingest made (``train_csv``, ``val_csv`` and
                         ``test_csv`` belong to it); ``vidclf run ingest/ucf-sports --set annotations.path=…`` reads them
``num_classes``          not used: the snapshot knows its classes
``num_epoch``            ``optim.epochs``
``batch_size``           ``optim.batch_size``
``num_frames``           ``data.num_frames``, evenly spaced over the clip
``learning_rate``        ``optim.learning_rate``
``scheduler_step_size``  ``optim.step_size``, with ``optim.schedule: step``
``scheduler_gamma``      ``optim.gamma``, with ``optim.schedule: step``
``n_nodes``              ``head_hidden``
``freeze_layers``        1: ``optim.freeze: backbone``
``epoch_start_unfreeze`` ``optim.unfreeze_epoch``: epochs are counted from 0 there, so it is as many as were trained before
``block_start_unfreeze`` ``optim.unfreeze_from_block``
``do_train``             must be 1: a flow ``train`` that does not train is none
``do_test``              1: ``test_split: test``
``path_torchvideo_model``  not used: the models come with the package
``name_torchvideo_model``  ``model``, with ``weights: kinetics400``
``crop_video``           1: ``data.side_size`` and ``data.crop_size`` are 256
=======================  ===============================================================================================

There what is unfrozen goes on with the rate of the rest, so ``optim.unfreeze_lr_factor`` is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vidclf.errors import ConfigError

#: key → where its value goes; None: nowhere, as the table says.
_PLAIN: dict[str, tuple[str, ...] | None] = {
    "dataset_path": None,
    "train_csv": None,
    "val_csv": None,
    "test_csv": None,
    "num_classes": None,
    "num_epoch": ("optim", "epochs"),
    "batch_size": ("optim", "batch_size"),
    "num_frames": ("data", "num_frames"),
    "learning_rate": ("optim", "learning_rate"),
    "scheduler_step_size": ("optim", "step_size"),
    "scheduler_gamma": ("optim", "gamma"),
    "n_nodes": ("head_hidden",),
    "epoch_start_unfreeze": ("optim", "unfreeze_epoch"),
    "block_start_unfreeze": ("optim", "unfreeze_from_block"),
    "path_torchvideo_model": None,
    "name_torchvideo_model": ("model",),
}
_SWITCHES = ("freeze_layers", "do_train", "do_test", "crop_video")
KEYS = (*_PLAIN, *_SWITCHES)
CROP = 256


def translated(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration with keys of that project as settings of ``train``; one without any comes back as it is.

    None of the keys is at the top of a configuration of ours. A setting that is there under our name, too, stays.

    Raises:
        ConfigError: ``do_train`` is 0, or a switch is neither 0 nor 1.
    """
    theirs = {key: value for key, value in values.items() if key in KEYS}
    if not theirs:
        return values
    result = {key: value for key, value in values.items() if key not in theirs}
    for key, path in _PLAIN.items():
        if path is not None and theirs.get(key) is not None:
            _put(result, path, theirs[key])
    for key, change in _CHANGES.items():
        if key in theirs:
            change(result, theirs[key])
    return result


def _put(result: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set ``result``'s setting, unless it is there under our name."""
    for name in path[:-1]:
        result[name] = dict(result.get(name) or {})
        result = result[name]
    result.setdefault(path[-1], value)


def _is_on(key: str, value: Any) -> bool:
    if value not in (0, 1):
        raise ConfigError(f"setting {key!r} is {value!r}: 1 or 0")
    return bool(value)


def _freeze(result: dict[str, Any], value: Any) -> None:
    optim = dict(result.get("optim") or {})
    if not _is_on("freeze_layers", value):
        optim.pop("unfreeze_epoch", None)  # without an effect there, too
    elif optim.get("unfreeze_epoch") == 0:  # at once: all from that block on learns from the beginning
        optim["freeze"] = optim.get("unfreeze_from_block") or "none"
        optim.pop("unfreeze_epoch")
    else:
        optim |= {"freeze": "backbone", "unfreeze_lr_factor": 1.0}
    result["optim"] = optim


def _train(result: dict[str, Any], value: Any) -> None:
    if not _is_on("do_train", value):
        raise ConfigError("setting 'do_train' is 0: the flow train trains; to judge a model there is the flow evaluate")


def _test(result: dict[str, Any], value: Any) -> None:
    if _is_on("do_test", value):
        _put(result, ("test_split",), "test")


def _crop(result: dict[str, Any], value: Any) -> None:
    if _is_on("crop_video", value):
        _put(result, ("data", "side_size"), CROP)
        _put(result, ("data", "crop_size"), CROP)


def _step(result: dict[str, Any], value: Any) -> None:
    _put(result, ("optim", "schedule"), "step")


def _uniform(result: dict[str, Any], value: Any) -> None:
    _put(result, ("data", "sampling"), "uniform")


def _pretrained(result: dict[str, Any], value: Any) -> None:
    _put(result, ("weights",), "kinetics400")


_CHANGES: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "freeze_layers": _freeze,
    "do_train": _train,
    "do_test": _test,
    "crop_video": _crop,
    "scheduler_step_size": _step,
    "scheduler_gamma": _step,
    "num_frames": _uniform,
    "name_torchvideo_model": _pretrained,
}
