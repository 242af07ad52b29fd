"""Models under a name, in MLflow's registry: versions, and aliases (champion, challenger) that move between them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from vidclf.errors import ConfigError
from vidclf.home import home, tracking_uri
from vidclf.models.checkpoint import CARD, ModelCard, read_card
from vidclf.storage import Store
from vidclf.tracking.client import client, explained
from vidclf.tracking.models import PREFIX, checkpoint_folder, pinned

EXPERIMENT = "vidclf"  # of checkpoints that no tracked run made
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Registered:
    """One version of a registered model."""

    name: str
    version: int
    aliases: tuple[str, ...]
    model: str  # architecture
    snapshot_id: str
    val_top1: float | None
    checkpoint: str  # where it was registered from
    registered_at: float  # seconds since the epoch
    tags: dict[str, str]  # what else is known of it, as what a retraining decided

    @property
    def uri(self) -> str:
        return f"{PREFIX}{self.name}/{self.version}"


def register(checkpoint: str, name: str, aliases: Sequence[str] = ()) -> Registered:
    """Make a finished checkpoint the next version of the model ``name``. Once registered, it keeps its version.

    Where its training was tracked, the version is the model that was logged then; else it is logged now.

    Args:
        checkpoint: the folder's path or URI, or ``models:/…`` of a model that is logged or registered already.
        name: of the registered model; new ones are made.
        aliases: to point to the version.

    Raises:
        ConfigError: it is no finished checkpoint, or a name is not allowed.
        TrackingError: MLflow does not answer, or refuses.
    """
    _require(_NAME, name, "model's name")
    for alias in aliases:
        _require_alias(alias)
    with explained():
        source = pinned(checkpoint) if checkpoint.startswith(PREFIX) else _logged(Store(checkpoint))
        version = _version_of(name, source) or _new_version(name, source, checkpoint)
        for alias in aliases:
            client().set_registered_model_alias(name, alias, str(version))
        return described(client().get_model_version(name, str(version)))


def set_alias(name: str, alias: str, version: int) -> Registered:
    """Point an alias to a version; it leaves the one that had it.

    Raises:
        ConfigError: there is no such model or version, or the alias is no word.
        TrackingError: MLflow does not answer, or refuses.
    """
    _require_alias(alias)
    with explained():
        found = _find(name, version)
        client().set_registered_model_alias(name, alias, str(version))
        return described(client().get_model_version(name, str(found.version)))


def remove_alias(name: str, alias: str) -> None:
    """Take an alias away; the version that had it stays.

    Raises:
        ConfigError: there is no such model, or it has no such alias.
        TrackingError: MLflow does not answer, or refuses.
    """
    with explained():
        have = sorted({known for one in registered(name) for known in one.aliases})
        if alias not in have:
            raise ConfigError(f"model {name!r} has no alias {alias!r}; it has: {', '.join(have) or 'none'}")
        client().delete_registered_model_alias(name, alias)


def registered(name: str | None = None) -> list[Registered]:
    """Every version of a registered model, or of all of them: by name, the latest version first.

    Raises:
        ConfigError: there is no model of that name.
        TrackingError: MLflow does not answer.
    """
    _require_database()
    with explained():
        versions = _all_versions(name)
        if name is not None and not versions:
            raise ConfigError(f"no model {name!r} is registered; there are: {', '.join(_names()) or 'none'}")
        found = [described(client().get_model_version(one.name, one.version)) for one in versions]
    return sorted(found, key=lambda one: (one.name, -one.version))


def local_checkpoint(uri: str) -> Path:
    """A local folder with the checkpoint of ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or ``models:/MODEL_ID``.

    Kept under ``$VIDCLF_HOME/registry``: what a model's id names never changes.

    Raises:
        ConfigError: there is no such model, or it is none of vidclf.
        TrackingError: MLflow does not answer.
    """
    _require_database()
    with explained():
        model = pinned(uri)
        folder = home() / "registry" / model.removeprefix(PREFIX)
        if not (folder / CARD).is_file():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as fetched:
                found = checkpoint_folder(model, Path(fetched))
                shutil.rmtree(folder, ignore_errors=True)  # without its card it is what a killed process left
                with contextlib.suppress(OSError):  # somebody else was first
                    os.rename(found, folder)
        return folder


def _logged(checkpoint: Store) -> str:
    """``models:/MODEL_ID`` of a checkpoint, which is logged where no run did."""
    from vidclf import tracking

    card = read_card(checkpoint.uri)
    work = checkpoint.uri.rsplit("/", 1)[-1]
    experiments = [str(one.experiment_id) for one in client().search_experiments()]
    runs = [] if "'" in work else client().search_runs(experiments, f"tags.`{tracking.WORK_TAG}` = '{work}'")
    for run in runs:
        outputs = client().get_run(run.info.run_id).outputs
        for output in outputs.model_outputs if outputs else ():
            if _card_of(output.model_id) == card:
                return f"{PREFIX}{output.model_id}"
    run_id = tracking.open_checkpoint_run(EXPERIMENT, work, card)
    with tracking.ending(run_id):
        return tracking.log_model(run_id, checkpoint)


def _card_of(model_id: str) -> ModelCard | None:
    """The card of a logged model; None where it is none of vidclf."""
    location = client().get_logged_model(model_id).artifact_location
    with tempfile.TemporaryDirectory() as folder:
        try:
            mlflow.artifacts.download_artifacts(artifact_uri=f"{location}/artifacts/checkpoint/{CARD}", dst_path=folder)
        except (MlflowException, OSError):  # of the many kinds of stores, for a file that is not there
            return None
        return read_card(folder)


def _version_of(name: str, source: str) -> int | None:
    """The version of ``name`` that is the logged model ``source`` already."""
    found = (int(one.version) for one in _all_versions(name) if one.source == source)
    return max(found, default=None)


def _new_version(name: str, source: str, checkpoint: str) -> int:
    model_id = source.removeprefix(PREFIX)
    card = _card_of(model_id)
    if card is None:
        raise ConfigError(f"{checkpoint} is an MLflow model, but none of vidclf: it has no checkpoint")
    if name not in _names():
        try:
            client().create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # somebody else was first
                raise
    tags: dict[str, Any] = {"model": card.model, "snapshot_id": card.snapshot_id, "checkpoint": checkpoint}
    if "val_top1" in card.results:
        tags["val_top1"] = f"{card.results['val_top1']:.6f}"
    made = client().create_model_version(name, source, tags=tags, model_id=model_id)
    return int(made.version)


def _find(name: str, version: int) -> Registered:
    known = registered(name)
    for one in known:
        if one.version == version:
            return one
    versions = ", ".join(str(one.version) for one in known)
    raise ConfigError(f"model {name!r} has no version {version}; it has: {versions}")


def _names() -> list[str]:
    return sorted({str(one.name) for one in _pages(client().search_registered_models)})


def _all_versions(name: str | None) -> list[Any]:
    if name is not None and not _NAME.fullmatch(name):
        return []
    filtered = {"filter_string": f"name='{name}'"} if name is not None else {}
    return list(_pages(client().search_model_versions, **filtered))


def _pages(search: Any, **options: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


def described(version: Any) -> Registered:
    """A version as MLflow has it, in our terms."""
    tags = version.tags
    return Registered(
        name=version.name,
        version=int(version.version),
        aliases=tuple(sorted(version.aliases)),
        model=tags.get("model", ""),
        snapshot_id=tags.get("snapshot_id", ""),
        val_top1=float(tags["val_top1"]) if "val_top1" in tags else None,
        checkpoint=tags.get("checkpoint", version.source or ""),
        registered_at=version.creation_timestamp / 1000,
        tags=dict(tags),
    )


def _require_alias(alias: str) -> None:
    _require(_ALIAS, alias, "alias")
    if alias.lower() == "latest" or re.fullmatch(r"v\d+", alias, re.IGNORECASE):
        raise ConfigError(f"{alias!r} is no alias: MLflow keeps latest and v1, v2, … for itself")


def _require(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise ConfigError(f"{value!r} is no {what}: letters, digits, '.', '_' and '-', a letter or digit first")


def _require_database() -> None:
    """Looking for a model makes no database where there is none.

    Raises:
        ConfigError: there is none.
    """
    scheme, _, path = tracking_uri().partition(":///")
    if scheme == "sqlite" and not Path(path).exists():
        raise ConfigError(f"nothing is registered in {path}, which is not there; $MLFLOW_TRACKING_URI names another")
