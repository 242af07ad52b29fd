"""The models: what they take, what they answer, what they start from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidclf.config import TrainConfig, parse
from vidclf.errors import ConfigError
from vidclf.models import available_models, build, count_parameters, require
from vidclf.models._weights import WEIGHTS_VARIABLE

NAMES = [spec.name for spec in available_models()]


def test_the_three_families_are_there() -> None:
    assert {spec.family for spec in available_models()} >= {"cnn_rnn", "frame_cnn", "x3d"}


@pytest.mark.parametrize("name", NAMES)
def test_every_model_turns_videos_into_one_number_per_class_and_can_be_trained(name: str) -> None:
    model = build(name, num_classes=3, num_frames=2, crop_size=32)
    logits = model(torch.randn(2, 3, 2, 32, 32))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(("num_frames", "crop_size"), [(8, 64), (4, 182)])
def test_x3d_takes_the_input_it_was_built_for(num_frames: int, crop_size: int) -> None:
    model = build("x3d_xs", 5, num_frames, crop_size).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 3, num_frames, crop_size, crop_size)).shape == (1, 5)


def test_x3d_ends_in_logits_not_probabilities() -> None:
    torch.manual_seed(0)
    model: Any = build("x3d_xs", 4, 4, 64, dropout=0.0)
    with torch.no_grad():
        model.blocks[-1].proj.bias += 5.0
    for mode in (model.train(), model.eval()):
        with torch.no_grad():
            sums = mode(torch.randn(2, 3, 4, 64, 64)).sum(dim=1)
        assert (sums > 2).all()  # of probabilities it would be 1


def test_x3d_is_pytorchvideos_own_without_its_softmax() -> None:
    from pytorchvideo.models import hub

    torch.manual_seed(0)
    theirs, ours = hub.x3d_xs().eval(), build("x3d_xs", 400, 4, 160).eval()
    ours.load_state_dict(theirs.state_dict())
    video = torch.randn(1, 3, 4, 160, 160)
    with torch.inference_mode():
        torch.testing.assert_close(ours(video).softmax(dim=1), theirs(video))


def test_x3d_refuses_a_crop_that_would_vanish() -> None:
    with pytest.raises(ConfigError, match="crop_size of at least 32"):
        build("x3d_xs", 4, 4, 16)


def test_the_lstms_answer_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    torch.manual_seed(0)
    model = build("cnn_lstm", 4).eval()
    videos = torch.randn(3, 3, 5, 32, 32)
    with torch.inference_mode():
        together = model(videos)
        alone = torch.cat([model(video[None]) for video in videos])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3  # and the neighbours are told apart


def test_the_lstm_sees_the_order_of_frames_and_the_frame_cnn_does_not() -> None:
    torch.manual_seed(0)
    video = torch.randn(1, 3, 6, 32, 32)
    difference = {}
    for name in ("cnn_lstm", "frame_cnn"):
        model = build(name, 4).eval()
        with torch.inference_mode():
            difference[name] = float((model(video) - model(video.flip(2))).abs().max())
    assert difference["frame_cnn"] < 1e-5
    assert difference["cnn_lstm"] > 1e-3


def test_the_frame_cnn_averages_the_probabilities_of_its_frames() -> None:
    torch.manual_seed(0)
    model = build("frame_cnn", 4).eval()
    video = torch.randn(2, 3, 5, 32, 32)
    with torch.inference_mode():
        whole = model(video).softmax(dim=1)
        single = torch.stack([model(video[:, :, t : t + 1]).softmax(dim=1) for t in range(5)])
    torch.testing.assert_close(whole, single.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_an_unknown_model_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"'x4d' is unknown; there are: .*x3d_xs"):
        require("x4d")
    with pytest.raises(ConfigError, match="x3d_xs"):
        parse(TrainConfig, {"dataset": "d", "model": "x4d"})


def test_weights_that_a_model_does_not_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="'x3d_xs' has no weights 'imagenet'; it has: none, kinetics400"):
        build("x3d_xs", 4, weights="imagenet")


def test_names_are_checked_without_importing_torch() -> None:
    program = (
        "import sys, vidclf.models, vidclf.data.view; vidclf.models.require('x3d_xs'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def published_layout(folder: Path) -> dict[str, torch.Tensor]:
    """Write a file as pytorchvideo publishes X3D-XS: 400 classes, beside an optimiser state."""
    torch.manual_seed(7)
    state = build("x3d_xs", 400).state_dict()
    content = {"model_state": state, "optimizer_state": {"lr": np.float64(0.1)}, "cfg": "text", "epoch": 300}
    torch.save(content, folder / "X3D_XS.pyth")
    return state


def test_loading_published_layout_keeps_every_tensor_but_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = published_layout(tmp_path)
    monkeypatch.setenv(WEIGHTS_VARIABLE, tmp_path.as_uri())
    torch.manual_seed(8)
    state = build("x3d_xs", 3, 8, 64, weights="kinetics400").state_dict()
    assert state.keys() == published.keys()
    changed = {name for name in state if not torch.equal(state[name], published[name])}
    assert changed == {"blocks.5.proj.weight", "blocks.5.proj.bias"}
    assert state["blocks.5.proj.weight"].shape[0] == 3


def test_resnet_starts_from_imagenet_weights_but_for_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    published = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(published, tmp_path / "resnet18-f37072fd.pth")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    for name in ("cnn_lstm", "frame_cnn"):
        state = build(name, 3, weights="imagenet").state_dict()
        kept = {key for key in published if torch.equal(state.get(f"backbone.{key}", torch.empty(0)), published[key])}
        assert kept == set(published) - {"fc.weight", "fc.bias"}


def test_weights_of_another_model_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"model_state": {"other": torch.zeros(1)}}, tmp_path / "X3D_XS.pyth")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match="do not fit the model"):
        build("x3d_xs", 3, weights="kinetics400")


def test_weights_that_cannot_be_had_are_one_line_that_says_what_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("vidclf.models.x3d.PUBLISHED", "http://127.0.0.1:9/X3D_XS.pyth")  # nobody listens there
    with pytest.raises(ConfigError, match=r"X3D_XS\.pyth cannot be had: .*weights=none works") as error:
        build("x3d_xs", 3, weights="kinetics400")
    assert "\n" not in str(error.value)


def test_parameters_are_counted() -> None:
    assert 2_900_000 < count_parameters(build("x3d_xs", 4)) < 3_800_000  # 3.8 M with 400 classes, as published
