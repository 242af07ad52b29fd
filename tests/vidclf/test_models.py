"""The models by name: what is known of them before they are built, and what single families promise."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
import torch

from vidclf.config import DataConfig, TrainConfig, parse
from vidclf.data.view import StoredFrames, resolve_view
from vidclf.errors import ConfigError
from vidclf.models import available_models, build, count_parameters, require
from vidclf.models.cost import measure
from vidclf.models.families import _backbones
from vidclf.summary import print_models

NAMES = {spec.name for spec in available_models()}


def test_the_zoo_is_complete() -> None:
    pytorchvideo = (
        "c2d_r50 csn_r101 efficient_x3d_s efficient_x3d_xs i3d_r50 mvit_base_16 mvit_base_16x4 mvit_base_32x3"
    )
    more = "r2plus1d_r50 slow_r50 slowfast_16x8_r101_50_50 slowfast_r101 slowfast_r50 x3d_l x3d_m x3d_s x3d_xs"
    torchvision = "mc3_18 mvit_v1_b mvit_v2_s r2plus1d_18 r3d_18 s3d swin3d_t"
    ours = "cnn_attention cnn_gru cnn_lstm frame_cnn"
    assert set(f"{pytorchvideo} {more} {torchvision} {ours}".split()) == NAMES


def test_an_unknown_model_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"'x4d' is unknown; there are: .*x3d_xs"):
        require("x4d")
    with pytest.raises(ConfigError, match="x3d_xs"):
        parse(TrainConfig, {"dataset": "d", "model": "x4d"})
    with pytest.raises(ConfigError, match="'x3d_xs-resnet50' is unknown"):
        require("x3d_xs-resnet50")


def test_an_unknown_backbone_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"backbone 'resnet51' is unknown; there are torchvision's: .*resnet50"):
        parse(TrainConfig, {"dataset": "d", "model": "cnn_lstm-resnet51"})


def test_names_and_inputs_are_checked_without_importing_torch() -> None:
    program = (
        "import sys, vidclf.models as m, vidclf.data.view\n"
        "for spec in m.available_models():\n"
        "    spec.check_input()\n"
        "    for bad in ({'num_frames': spec.limits.min_frames - 1}, {'crop_size': spec.limits.min_crop - 1}):\n"
        "        try:\n"
        "            spec.check_input(**bad) if all(bad.values()) else spec.check_input(crop_size=1)\n"
        "        except m.ConfigError as error:\n"
        "            assert spec.name in str(error)\n"
        "        else:\n"
        "            sys.exit(f'{spec.name} takes {bad}')\n"
        "m.require('cnn_lstm-vit_b_16').check_input(crop_size=224)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x3d_xs", {"crop_size": 31}, "'x3d_xs' needs a crop_size of at least 32, got 31"),
        ("slowfast_r50", {"num_frames": 6}, "'slowfast_r50' needs a num_frames that is a multiple of 4, got 6"),
        ("mvit_v2_s", {"num_frames": 7}, "'mvit_v2_s' needs a num_frames that is a multiple of 2, got 7"),
        ("mvit_base_16x4", {"crop_size": 50}, "needs a crop_size that is a multiple of 4, got 50"),
        ("c2d_r50", {"num_frames": 1}, "'c2d_r50' needs a num_frames of at least 2, got 1"),
        (
            "cnn_gru-vit_b_16",
            {"crop_size": 40},
            "'cnn_gru-vit_b_16' needs a crop_size that is a multiple of 16, got 40",
        ),
    ],
)
def test_a_view_that_a_model_cannot_take_is_refused_in_one_line(name: str, data: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        resolve_view(name, parse(DataConfig, data), StoredFrames(num_frames=64))
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=message):
        build(name, 3, narrow=True, **data)


def test_a_backbone_that_needs_larger_pictures_gets_them() -> None:
    assert require("cnn_lstm-maxvit_t").defaults.crop_size == 224
    for name in _backbones.NAMES:
        require(f"frame_cnn-{name}").check_input()


def test_the_backbones_are_torchvisions() -> None:
    import torchvision

    assert tuple(torchvision.models.list_models(module=torchvision.models)) == _backbones.NAMES


def test_what_is_said_of_torchvisions_models_is_what_torchvision_says() -> None:
    import torchvision

    for spec in available_models():
        if spec.accuracy is None or "pytorch.org/vision" not in spec.accuracy.source:
            continue
        weights: Any = torchvision.models.get_model_weights(spec.name).KINETICS400_V1
        transform, metrics, fed = weights.transforms(), weights.meta["_metrics"]["Kinetics-400"], spec.defaults
        assert spec.published == {"kinetics400": weights.url}
        assert (spec.accuracy.top1, spec.accuracy.top5) == (metrics["acc@1"], metrics["acc@5"])
        assert (list(fed.mean), list(fed.std)) == (transform.mean, transform.std)
        assert (fed.side_size, fed.crop_size) == (transform.resize_size[0], transform.crop_size[0])
        assert spec.cost is not None
        assert spec.cost.parameters == weights.meta["num_params"]


def test_pytorchvideos_models_are_loaded_from_where_pytorchvideo_loads_them() -> None:
    from vidclf.models.families._pytorchvideo import import_hub

    import_hub()
    addresses = set()
    for module in ("csn", "efficient_x3d_mobile_cpu", "r2plus1d", "resnet", "slowfast", "vision_transformers", "x3d"):
        hub = sys.modules[f"pytorchvideo.models.hub.{module}"]
        known = getattr(hub, "checkpoint_paths", None) or vars(hub)["_checkpoint_paths"]
        addresses |= set(known.values())
    ours = {url for spec in available_models() for url in spec.published.values() if "pytorchvideo" in url}
    assert ours == {url for url in addresses if "DETECTION" not in url}


@pytest.mark.parametrize("name", ["x3d_xs", "cnn_lstm", "mvit_base_16x4", "slowfast_r50"])
def test_parameters_and_flops_are_what_is_said(name: str) -> None:
    said, counted = require(name).cost, measure(name)
    assert said is not None
    assert counted.parameters == said.parameters
    assert counted.gflops == pytest.approx(said.gflops, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES))
def test_parameters_and_flops_of_every_model_are_what_is_said(name: str) -> None:
    test_parameters_and_flops_are_what_is_said(name)


def test_flops_are_counted_as_the_field_counts_them() -> None:
    # https://github.com/pytorch/vision: _ops of R3D-18 for 16 frames of 112 pixels
    assert measure("r3d_18").gflops == pytest.approx(40.697, rel=0.001)


def test_the_table_says_what_each_model_is_fed_costs_and_reaches() -> None:
    table = StringIO()
    print_models([require("x3d_s"), require("cnn_lstm")], table)
    row = next(line for line in table.getvalue().splitlines() if "x3d_s" in line)
    for cell in ("13 × 6", "182", "3.8 M", "2.7", "none, kinetics400", "73.33 / 91.27 on Kinetics-400, 30 views"):
        assert cell in row
    assert "pytorchvideo/blob/main/docs/source/model_zoo.md" in table.getvalue()


def test_x3d_ends_in_logits_not_probabilities() -> None:
    torch.manual_seed(0)
    model: Any = build("x3d_xs", 4, 4, 64, dropout=0.0, narrow=True)
    with torch.no_grad():
        model.blocks[-1].proj.bias += 5.0
    for mode in (model.train(), model.eval()):
        with torch.no_grad():
            sums = mode(torch.randn(2, 3, 4, 64, 64)).sum(dim=1)
        assert (sums > 2).all()  # of probabilities it would be 1


@pytest.mark.parametrize(
    ("name", "num_frames", "crop_size"), [("x3d_xs", 4, 160), ("r2plus1d_r50", 16, 224), ("slow_r50", 8, 256)]
)
def test_a_model_is_pytorchvideos_own_without_its_softmax(name: str, num_frames: int, crop_size: int) -> None:
    """Also where the picture is larger than the published pool."""
    from pytorchvideo.models import hub

    torch.manual_seed(0)
    options = {} if name == "x3d_xs" else {"stem_dim_out": 8}
    theirs = getattr(hub, name)(**options).eval()
    ours = build(name, 400, num_frames, crop_size, narrow=bool(options)).eval()
    ours.load_state_dict(theirs.state_dict())
    video = torch.randn(1, 3, num_frames, crop_size, crop_size)
    with torch.inference_mode():
        logits, expected = ours(video), theirs(video)
    is_softmax = bool((expected.sum() - 1).abs() < 1e-4)
    assert is_softmax == (name != "slow_r50")
    torch.testing.assert_close(logits.softmax(dim=1) if is_softmax else logits, expected)


def test_slowfast_is_pytorchvideos_own_on_both_pathways() -> None:
    from pytorchvideo.models import hub

    torch.manual_seed(0)
    theirs = hub.slowfast_r50(stem_dim_outs=(16, 2)).eval()
    ours = build("slowfast_r50", 400, narrow=True).eval()
    ours.load_state_dict(theirs.state_dict())
    video = torch.randn(1, 3, 32, 224, 224)
    chosen = [0, 4, 8, 13, 17, 22, 26, 31]  # of 32 frames, the first and the last among them
    with torch.inference_mode():
        torch.testing.assert_close(ours(video), theirs([video[:, :, chosen], video]))


@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s", "swin3d_t"])
def test_a_transformer_is_torchvisions_own(name: str) -> None:
    import torchvision

    with torch.device("meta"):
        theirs = getattr(torchvision.models.video, name)()
        ours = build(name, 400, dropout=0.5)
    assert {key: value.shape for key, value in ours.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }
    layers = [repr(layer) for layer in theirs.modules() if not list(layer.children())]  # sizes, strides, paddings
    ours_too = [repr(layer) for layer in ours.modules() if not list(layer.children())]
    assert [layer for layer in ours_too if "Dropout" not in layer] == [
        layer for layer in layers if "Dropout" not in layer
    ]


def test_the_lstms_answer_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    torch.manual_seed(0)
    model = build("cnn_lstm", 4).eval()
    videos = torch.randn(3, 3, 5, 32, 32)
    with torch.inference_mode():
        together = model(videos)
        alone = torch.cat([model(video[None]) for video in videos])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3  # and the neighbours are told apart


@pytest.mark.parametrize("name", ["cnn_lstm", "cnn_gru", "cnn_attention", "frame_cnn"])
def test_a_network_over_frames_sees_their_order_and_the_frame_cnn_does_not(name: str) -> None:
    torch.manual_seed(0)
    video = torch.randn(1, 3, 6, 32, 32)
    model = build(name, 4).eval()
    with torch.inference_mode():
        difference = float((model(video) - model(video.flip(2))).abs().max())
    assert difference < 1e-5 if name == "frame_cnn" else difference > 1e-3


@pytest.mark.parametrize("name", ["frame_cnn", "mvit_base_16"])
def test_a_network_on_single_frames_averages_their_probabilities(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, 4, crop_size=32, narrow=True).eval()
    video = torch.randn(2, 3, 5, 32, 32)
    with torch.inference_mode():
        whole = model(video).softmax(dim=1)
        single = torch.stack([model(video[:, :, t : t + 1]).softmax(dim=1) for t in range(5)])
    torch.testing.assert_close(whole, single.mean(dim=0), rtol=1e-4, atol=1e-6)


@pytest.mark.thorough
def test_dropout_is_what_was_asked_for() -> None:
    for name in {spec.family: spec.name for spec in available_models()}.values():
        for asked in (0.0, 0.4):
            model = build(name, 3, dropout=asked, narrow=True)
            set_to = {layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout) and layer.p > 0}
            assert set_to == ({asked} if asked else set()), name


def test_parameters_are_counted() -> None:
    assert count_parameters(build("x3d_xs", 400)) == 3_794_274  # 3.79 M, as published
