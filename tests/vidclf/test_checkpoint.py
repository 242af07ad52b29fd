"""Checkpoints: folders that describe themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vidclf.data.view import View
from vidclf.errors import ConfigError, StorageError
from vidclf.models import build, checkpoint
from vidclf.models.checkpoint import ModelCard
from vidclf.storage import Store


@pytest.fixture
def card(make_view: Callable[..., View]) -> ModelCard:
    classes = ("zumba", "ballet", "tap")  # not sorted: their order is the model's
    config = {"dataset": "d", "model": "x3d_xs"}
    return ModelCard(
        model="x3d_xs", classes=classes, view=make_view(), weights="none", snapshot_id="ab12", train_config=config
    )


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path, card: ModelCard) -> None:
    store = Store(tmp_path)
    model = build("x3d_xs", 3, 4, 32).eval()
    checkpoint.save(store, "models/a", model, card)
    loaded, loaded_card = checkpoint.load(tmp_path / "models/a")
    assert loaded_card == card
    assert loaded_card.classes == ("zumba", "ballet", "tap")
    assert not loaded.training
    video = torch.randn(2, 3, 4, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded(video), model(video))


def test_a_checkpoint_exists_only_when_its_card_does(
    tmp_path: Path, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(store, "a", build("x3d_xs", 3), card)
    assert store.exists("a/model.safetensors")
    assert not checkpoint.exists(store, "a")
    with pytest.raises(ConfigError, match="no finished checkpoint"):
        checkpoint.load(tmp_path / "a")
    checkpoint.save(store, "a", build("x3d_xs", 3), card)
    assert checkpoint.exists(store, "a")


def test_a_checkpoint_of_another_schema_version_is_refused(tmp_path: Path, card: ModelCard) -> None:
    Store(tmp_path).write_json("model.json", card.model_dump(mode="json") | {"schema_version": 2})
    with pytest.raises(ConfigError, match="schema version 2; this vidclf reads 1"):
        checkpoint.load(tmp_path)


def test_truncated_weights_are_refused_in_one_line(tmp_path: Path, card: ModelCard) -> None:
    store = Store(tmp_path)
    checkpoint.save(store, "a", build("x3d_xs", 3), card)
    store.write_bytes("a/model.safetensors", store.read_bytes("a/model.safetensors")[:1000])
    with pytest.raises(ConfigError, match=r"model\.safetensors does not hold this model's weights") as error:
        checkpoint.load(tmp_path / "a")
    assert "\n" not in str(error.value)


def test_missing_weights_are_named(tmp_path: Path, card: ModelCard) -> None:
    Store(tmp_path).write_json("model.json", card.model_dump(mode="json"))
    with pytest.raises(StorageError, match=r"model\.safetensors"):
        checkpoint.load(tmp_path)
