"""Models as files for other programs: every family in both forms, answering what the model answers."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from tests.vidclf.untrained import CLASSES, save_untrained, view_of
from vidclf import export
from vidclf.cli import main
from vidclf.data.transforms import normalise
from vidclf.data.view import StoredFrames, View
from vidclf.errors import ConfigError
from vidclf.export import ABOUT, SUFFIXES, ExportError, Form, export_model
from vidclf.models import available_models, build, require
from vidclf.models.checkpoint import ModelCard, load

STORED = StoredFrames(num_frames=8, side_size=32)
#: One of each family; the families are complete, which a test below checks.
FAMILIES = {spec.family: spec.name for spec in reversed(available_models())}
QUICK = ("frame_cnn", "x3d_xs")
NAMES = sorted({*FAMILIES.values(), "cnn_lstm", "cnn_gru", *QUICK} & {spec.name for spec in available_models()})

needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in export.ONNX_PACKAGES), reason="the extra vidclf[onnx] is not installed"
)
forms = pytest.mark.parametrize("form", ["torch-export", pytest.param("onnx", marks=needs_onnx)])


def narrow(name: str) -> tuple[nn.Module, ModelCard]:
    """A small model of an architecture, and its card."""
    limits = require(name).limits
    frames, crop = max(4, limits.min_frames), max(64, limits.min_crop)
    frames, crop = frames + -frames % limits.frames_multiple_of, crop + -crop % limits.crop_multiple_of
    view = view_of(STORED, num_frames=frames, crop_size=crop, side_size=crop)
    torch.manual_seed(0)
    model = build(name, len(CLASSES), frames, crop, dropout=0.0, narrow=True).eval()
    return model, ModelCard(model=name, classes=CLASSES, view=view, weights="none", snapshot_id="ab", train_config={})


@pytest.mark.thorough
@forms
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_a_file_answers_what_the_model_answers_for_any_number_of_views(name: str, form: Form, tmp_path: Path) -> None:
    model, card = narrow(name)
    output = tmp_path / f"model{SUFFIXES[form]}"
    done = export_model(model, card, form, output)  # reads it again, and compares
    assert done.difference < export.TOLERANCE
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_every_family_is_among_them() -> None:
    assert {require(name).family for name in NAMES} == {spec.family for spec in available_models()}


def pixels(view: View, count: int = 5) -> Tensor:
    return torch.randint(0, 256, (count, 3, view.num_frames, view.crop_size, view.crop_size), dtype=torch.uint8)


@pytest.mark.slow
@needs_onnx
def test_an_onnx_file_needs_only_itself(tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    folder = save_untrained(tmp_path / "model", view_of(STORED))
    model, card = load(folder)
    export.export_checkpoint(str(folder), "onnx", tmp_path / "model.onnx")
    about = {one.key: one.value for one in onnx.load(tmp_path / "model.onnx").metadata_props}[ABOUT]
    assert json.loads(about)["output"]["classes"] == list(CLASSES)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    shown = pixels(card.view)
    (answer,) = session.run(None, {"videos": (shown.float() / 255).numpy()})
    with torch.inference_mode():
        expected = model(normalise(shown, card.view)).softmax(dim=1).numpy()
    np.testing.assert_allclose(answer, expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01


@pytest.mark.thorough
def test_a_torch_export_file_needs_only_torch(tmp_path: Path) -> None:
    folder = save_untrained(tmp_path / "model", view_of(STORED))
    model, card = load(folder)
    export.export_checkpoint(str(folder), "torch-export", tmp_path / "model.pt2")
    extra = {ABOUT: ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    assert json.loads(extra[ABOUT])["card"] == card.model_dump(mode="json")
    shown = pixels(card.view)
    with torch.inference_mode():
        expected = model(normalise(shown, card.view)).softmax(dim=1)
        torch.testing.assert_close(program.module()(shown.float() / 255), expected, atol=1e-5, rtol=0)


@pytest.mark.thorough
def test_a_file_that_answers_something_else_is_not_kept(tmp_path: Path) -> None:
    class Fickle(nn.Module):
        """Its answer depends on a number that is written down once and for all."""

        calls = 0

        def forward(self, videos: Tensor) -> Tensor:
            Fickle.calls += 1
            return videos.mean(dim=(2, 3, 4)) * Fickle.calls

    _, card = narrow("x3d_xs")
    with pytest.raises(ExportError, match=r"answers .* beside the model"):
        export_model(Fickle(), card, "torch-export", tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.thorough
def test_the_command_says_what_it_wrote_and_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_untrained(tmp_path / "model", view_of(STORED))

    def run(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, ["export", *arguments])
        assert done.exit_code == status, done.output
        return done.output

    said = run(str(folder), "--to", "torch-export", "--output", str(tmp_path / "out/model.pt2"))
    assert "x3d_xs" in said
    assert "float (B, 3, 4, 32, 32)" in said
    assert (tmp_path / "out/model.pt2").stat().st_size > 1e6
    assert "ends in .onnx" in run(str(folder), "--to", "onnx", "--output", "model.pt2", status=2)
    monkeypatch.setattr(export, "ONNX_PACKAGES", ("a_package_that_is_not_there",))
    said = run(str(folder), "--to", "onnx", "--output", str(tmp_path / "m.onnx"), status=2)
    assert "needs a_package_that_is_not_there: pip install 'vidclf[onnx]'" in said
    with pytest.raises(ConfigError, match="no finished checkpoint"):
        export.export_checkpoint(str(tmp_path / "none"), "torch-export", tmp_path / "m.pt2")
