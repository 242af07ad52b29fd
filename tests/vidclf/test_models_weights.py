"""Weights to start from: where they come from, and that they arrive as they are."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from torch import Tensor

from vidclf.data.view import View
from vidclf.errors import ConfigError
from vidclf.models import ModelSpec, available_models, build, checkpoint, require
from vidclf.models.checkpoint import ModelCard
from vidclf.models.families import _backbones
from vidclf.models.weights import WEIGHTS_VARIABLE, fetch
from vidclf.storage import Store

ONE_OF_EACH_FAMILY = sorted({spec.family: spec.name for spec in available_models()}.values())


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's cache in the test's folder."""
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def publish(path: Path, name: str, classes: int = 400) -> dict[str, Tensor]:
    """Write a file as pytorchvideo publishes its own: ``model_state`` beside an optimiser's state."""
    torch.manual_seed(7)
    state = build(name, classes, narrow=True).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model_state": state, "optimizer_state": {"lr": np.float64(0.1)}, "cfg": "text", "epoch": 300}, path)
    return state


def differing(state: dict[str, Tensor], published: dict[str, Tensor]) -> set[str]:
    assert state.keys() == published.keys()
    return {name for name in state if not torch.equal(state[name], published[name])}


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_every_tensor_but_the_heads_is_that_of_the_file(name: str, tmp_path: Path) -> None:
    published = publish(tmp_path / "published.pyth", name)
    torch.manual_seed(8)
    state = build(name, 3, weights=str(tmp_path / "published.pyth"), narrow=True).state_dict()
    changed = differing(state, published)
    assert {published[key].shape[0] for key in changed} == {400}
    assert {state[key].shape[0] for key in changed} == {3}
    assert len(changed) == 2  # weight and bias of the output


def test_published_weights_are_found_in_a_folder_by_their_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = publish(tmp_path / "files" / "X3D_XS.pyth", "x3d_xs")
    for place in (str(tmp_path / "files"), (tmp_path / "files").as_uri()):
        monkeypatch.setenv(WEIGHTS_VARIABLE, place)
        state = build("x3d_xs", 3, 8, 64, weights="kinetics400", narrow=True).state_dict()
        assert differing(state, published) == {"blocks.5.proj.weight", "blocks.5.proj.bias"}


def test_resnet_starts_from_imagenet_weights_but_for_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    published = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(published, tmp_path / "resnet18-f37072fd.pth")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    for name in ("cnn_lstm", "frame_cnn", "cnn_attention"):
        state = build(name, 3, weights="imagenet").state_dict()
        kept = {key for key in published if torch.equal(state.get(f"backbone.{key}", torch.empty(0)), published[key])}
        assert kept == set(published) - {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(
    "name",
    ["densenet121", "googlenet", "mnasnet0_5", "squeezenet1_1", pytest.param("vit_b_32", marks=pytest.mark.slow)],
)
def test_a_backbones_file_is_read_as_torchvision_reads_it(name: str, tmp_path: Path) -> None:
    """Auxiliary outputs are left out, DenseNet's old names are mapped, a transformer's positions are resized."""
    import torchvision

    options = {"init_weights": False} if name == "googlenet" else {}
    network = torchvision.models.get_model(name, weights=None, **options).state_dict()
    file = OrderedDict(network)
    if name == "densenet121":  # of 2017, before layers were renamed and counted their batches
        file = OrderedDict(
            (re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key), tensor)
            for key, tensor in network.items()
            if "num_batches_tracked" not in key
        )
    else:
        file._metadata = network._metadata  # type: ignore[attr-defined]
    path = tmp_path / f"{name}.pth"
    torch.save(file, path)
    crop = max(64, require(f"frame_cnn-{name}").limits.min_crop)
    state = build(f"frame_cnn-{name}", 3, crop_size=crop, weights=str(path)).state_dict()
    for key, tensor in state.items():
        if key.startswith("backbone.") and not key.endswith("pos_embedding"):
            assert torch.equal(tensor, network[key.removeprefix("backbone.")])


def test_the_address_of_a_backbones_weights_is_torchvisions() -> None:
    assert _backbones.published_address("resnet18").endswith("/resnet18-f37072fd.pth")
    assert _backbones.published_address("resnet50").endswith("/resnet50-0676ba61.pth")
    for name in _backbones.NAMES:
        assert _backbones.published_address(name).startswith("https://download.pytorch.org/models/")


def test_positions_are_interpolated_to_another_size_of_view(tmp_path: Path) -> None:
    path = tmp_path / "published.pyth"
    for name, in_time, in_space in (
        ("mvit_base_16x4", "cls_positional_encoding.pos_embed_temporal", "cls_positional_encoding.pos_embed_spatial"),
        ("mvit_v1_b", "pos_encoding.temporal_pos", "pos_encoding.spatial_pos"),
        ("mvit_v2_s", "blocks.0.attn.rel_pos_t", "blocks.0.attn.rel_pos_h"),
    ):
        published = publish(path, name)
        with torch.no_grad():  # a ramp in time: it stays one
            table = published[in_time]
            table.copy_(torch.linspace(0, 1, table.shape[-2])[:, None].expand_as(table))
        torch.save({"model_state": published}, path)
        model = build(name, 3, 8, 64, weights=str(path), narrow=True)
        state = model.state_dict()
        resized = {key for key in state if state[key].shape != published[key].shape and "head" not in key}
        assert {in_time, in_space} <= resized
        assert all(key == in_time or "pos" in key for key in resized)
        ramp = state[in_time].reshape(-1, state[in_time].shape[-1])[:, 0]
        assert (ramp.diff() > 0).all()
        same = set(state) - resized - {key for key in state if key.startswith("head")}
        assert all(torch.equal(state[key], published[key]) for key in same)
        with torch.inference_mode():
            assert model.eval()(torch.randn(1, 3, 8, 64, 64)).shape == (1, 3)


def test_a_checkpoint_can_be_started_from_whatever_its_classes(tmp_path: Path, make_view: Callable[..., View]) -> None:
    trained = build("x3d_xs", 5)
    card = ModelCard(
        model="x3d_xs", classes=tuple("abcde"), view=make_view(), weights="none", snapshot_id="s", train_config={}
    )
    checkpoint.save(Store(tmp_path), "a", trained, card)
    for place in (f"{tmp_path}/a", f"{tmp_path.as_uri()}/a/"):
        state = build("x3d_xs", 3, weights=place).state_dict()
        assert differing(state, trained.state_dict()) == {"blocks.5.proj.weight", "blocks.5.proj.bias"}


def test_a_file_on_s3_is_fetched_once_for_each_of_its_versions(bucket: str, tmp_path: Path, own_cache: Path) -> None:
    uri = f"{bucket}/weights/mine.pyth"
    for classes in (400, 401):  # another file under the same name
        published = publish(tmp_path / "mine.pyth", "x3d_xs", classes)
        with fsspec.open(uri, "wb") as file:
            file.write((tmp_path / "mine.pyth").read_bytes())
        fsspec.filesystem("s3").invalidate_cache()
        for _ in range(2):
            state = build("x3d_xs", 3, weights=uri, narrow=True).state_dict()
            assert differing(state, published) == {"blocks.5.proj.weight", "blocks.5.proj.bias"}
    assert len(list(own_cache.iterdir())) == 2


class _Files(BaseHTTPRequestHandler):
    files: dict[str, bytes]
    announced: int | None
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = self.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(self.announced or len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[type[_Files]]:
    """A server on loopback, whose class says what it has; ``url`` is its address."""
    handler = type("Handler", (_Files,), {"files": {}, "announced": None, "asked": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_published_file_is_downloaded_once(web: type[_Files], tmp_path: Path, own_cache: Path) -> None:
    publish(tmp_path / "file", "x3d_xs")
    web.files["/zoo-ab.d/X3D_XS.pyth"] = (tmp_path / "file").read_bytes()
    for _ in range(2):
        assert "blocks.0.norm.weight" in fetch(f"{web.url}/zoo-ab.d/X3D_XS.pyth")  # type: ignore[attr-defined]
    assert web.asked == ["/zoo-ab.d/X3D_XS.pyth"]
    assert [path.name for path in own_cache.iterdir()] == ["X3D_XS.pyth"]


def test_a_download_goes_to_the_folder_of_weights_where_that_is_set(
    web: type[_Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "file", "x3d_xs")
    web.files["/X3D_XS.pyth"] = (tmp_path / "file").read_bytes()
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "mine"))
    fetch(f"{web.url}/X3D_XS.pyth")  # type: ignore[attr-defined]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["X3D_XS.pyth"]


def test_half_a_file_is_not_kept(web: type[_Files], own_cache: Path) -> None:
    web.files["/half.pth"], web.announced = b"x" * 100, 200
    with pytest.raises(ConfigError, match=r"half\.pth cannot be had: .*the connection broke after 100 of 200 bytes"):
        fetch(f"{web.url}/half.pth")  # type: ignore[attr-defined]
    assert list(own_cache.iterdir()) == []


def test_a_file_that_is_not_what_its_name_says_is_not_kept(web: type[_Files], own_cache: Path) -> None:
    content = b"what a proxy answers"
    web.files["/resnet18-f37072fd.pth"] = content
    with pytest.raises(ConfigError, match=rf"SHA-256 is {hashlib.sha256(content).hexdigest()[:8]}…, not the f37072fd"):
        fetch(f"{web.url}/resnet18-f37072fd.pth")  # type: ignore[attr-defined]
    assert list(own_cache.iterdir()) == []


def test_weights_that_cannot_be_had_are_one_line_that_says_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # nobody listens there
        nowhere = f"http://127.0.0.1:{listener.getsockname()[1]}/X3D_XS.pyth"
        monkeypatch.setattr(ModelSpec, "origin", lambda *_: nowhere)
        with pytest.raises(ConfigError, match=r"X3D_XS\.pyth cannot be had: .*weights=none works") as error:
            build("x3d_xs", 3, weights="kinetics400", narrow=True)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.pyth cannot be had: .*No such file"):
        build("x3d_xs", 3, weights=str(tmp_path / "missing.pyth"), narrow=True)


def test_weights_that_a_model_does_not_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="'x3d_xs' has no weights 'imagenet'; it has: none, kinetics400, or the path"):
        build("x3d_xs", 4, weights="imagenet")


@pytest.mark.parametrize("name", ["x3d_xs", "cnn_lstm", "mvit_v2_s"])
def test_weights_of_another_model_are_refused(name: str, tmp_path: Path) -> None:
    publish(tmp_path / "other.pyth", "slow_r50")
    with pytest.raises(ConfigError, match=r"other\.pyth do not fit the model: ") as error:
        build(name, 3, weights=str(tmp_path / "other.pyth"), narrow=True)
    assert "\n" not in str(error.value)


def test_a_file_that_holds_code_or_no_weights_is_refused(tmp_path: Path) -> None:
    for content in (Path("x"), {"model_state": 3}, [torch.zeros(1)]):
        torch.save(content, tmp_path / "strange.pth")
        with pytest.raises(ConfigError, match=r"strange\.pth (cannot be had|hold no 'model_state')"):
            fetch(str(tmp_path / "strange.pth"))
