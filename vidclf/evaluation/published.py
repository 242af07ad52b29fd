"""A published model as a checkpoint like any other: its own head, the classes that it was trained on, its own view."""

from __future__ import annotations

from vidclf.config import DataConfig, fingerprint
from vidclf.data.view import View, resolve_view, stored_frames
from vidclf.errors import ConfigError
from vidclf.evaluation.labels import kinetics400_classes
from vidclf.models import build, checkpoint, require
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store

WEIGHTS = "kinetics400"


def published_checkpoint(
    store: str, model: str, dataset: str, snapshot_id: str, data: DataConfig, origin: str | None = None
) -> str:
    """The URI of a checkpoint with the weights that are published for ``model``, made where it is not there yet.

    Args:
        store: root URI, where it is kept under ``models/``.
        model: as `vidclf models` lists it.
        dataset: whose stored frames or clips it is to look at: its view counts in them.
        snapshot_id: of the dataset.
        data: num_frames, sampling_rate, side_size, crop_size and reader are used; what is None is the model's own.
        origin: a file of the published layout to take instead; None: where the model's weights are published.

    Raises:
        ConfigError: the model has no Kinetics-400 weights, they cannot be had, or the view does not fit.
    """
    spec = require(model)
    if WEIGHTS not in spec.weights:
        raise ConfigError(
            f"model {model!r} has no weights trained on Kinetics-400; `vidclf models` lists those that have"
        )
    made_by = read_snapshot(dataset_store(store, dataset), snapshot_id).made_by
    view = resolve_view(model, data, stored_frames(made_by, data.reader))
    spec.check_input(view.num_frames, view.crop_size)
    source = origin or spec.published[WEIGHTS]
    path = f"models/{model}-{WEIGHTS}-{fingerprint([view.model_dump(mode='json'), source])}"
    if not checkpoint.exists(Store(store), path):
        _make(Store(store), path, model, view, source)
    return f"{Store(store).uri}/{path}"


def _make(store: Store, path: str, model: str, view: View, source: str) -> None:
    from vidclf.models.blocks import blocks
    from vidclf.models.weights import fetch

    classes = kinetics400_classes()
    network = build(model, len(classes), view.num_frames, view.crop_size, weights=source, dropout=0.0)
    _, head = blocks(network)[-1]
    own = {id(tensor) for tensor in head.parameters()}
    names = [name for name, tensor in network.named_parameters() if id(tensor) in own]
    state = fetch(source)
    parameters = dict(network.named_parameters())
    for name in names:
        if name not in state or state[name].shape != parameters[name].shape:
            raise ConfigError(f"weights {source} have no head for the {len(classes)} classes of Kinetics-400: {name}")
        parameters[name].data.copy_(state[name])
    card = checkpoint.ModelCard(
        model=model,
        classes=classes,
        view=view,
        weights=source,
        snapshot_id=WEIGHTS,
        train_config={},
        results={},
    )
    checkpoint.save(store, path, network, card)
