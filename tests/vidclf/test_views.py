"""Multi-view testing: several windows in time, each cropped once or three times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.vidclf.conftest import TinyDataset, build_dataset
from vidclf.data.sampling import view_windows
from vidclf.data.transforms import normalise
from vidclf.data.view import View
from vidclf.errors import ConfigError
from vidclf.evaluation.clips import EvaluationClips, clip_views, crops
from vidclf.evaluation.metrics import video_predictions
from vidclf.evaluation.scoring import score
from vidclf.models import build

Make = Callable[..., TinyDataset]
MakeView = Callable[..., View]


class Numbered:
    """Frames whose every pixel says which frame it is, and where: red is the frame, green the column, blue the row."""

    def __init__(self, num_frames: int, height: int, width: int):
        self.shape = (num_frames, height, width)

    def __len__(self) -> int:
        return self.shape[0]

    def decode(self, indices: list[int]) -> Tensor:
        _, height, width = self.shape
        frames = torch.zeros(len(indices), 3, height, width, dtype=torch.uint8)
        frames[:, 0] = torch.tensor(indices, dtype=torch.uint8)[:, None, None]
        frames[:, 1] = torch.arange(width, dtype=torch.uint8)
        frames[:, 2] = torch.arange(height, dtype=torch.uint8)[:, None]
        return frames


@pytest.mark.parametrize(("height", "width"), [(32, 60), (60, 32), (32, 32)])
def test_three_crops_lie_along_the_longer_side(make_view: MakeView, height: int, width: int) -> None:
    views = clip_views(Numbered(8, height, width), make_view(), num_ensemble_views=2, num_spatial_crops=3)
    assert views.shape == (6, 3, 4, 32, 32)
    corners = [(int(view[1, 0, 0, 0]), int(view[2, 0, 0, 0])) for view in views]
    along = [0, 14, 28] if max(height, width) == 60 else [0, 0, 0]
    expected = [(place, 0) if width > height else (0, place) for place in along]
    assert corners == expected * 2


def test_the_crops_of_a_window_follow_each_other(make_view: MakeView) -> None:
    view = make_view()
    views = clip_views(Numbered(20, 32, 60), view, num_ensemble_views=3, num_spatial_crops=3)
    windows = view_windows(20, view.num_frames, view.sampling_rate, 3, view.sampling)
    for number, one in enumerate(views):
        assert one[0, :, 0, 0].tolist() == windows[number // 3].tolist()


def test_one_crop_is_the_centre(make_view: MakeView) -> None:
    three = clip_views(Numbered(8, 32, 60), make_view(), 2, 3)
    one = clip_views(Numbered(8, 32, 60), make_view(), 2, 1)
    assert torch.equal(one, three[1::3])
    assert len(crops(torch.zeros(1, 3, 4, 8), 1)) == 1


def test_other_numbers_of_views_are_refused(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"val": 1})
    given = (tiny.manifest, tiny.store, tiny.classes, "val", make_view())
    with pytest.raises(ConfigError, match="num_spatial_crops is 2; it can be 1 or 3"):
        EvaluationClips(*given, 1, 2)
    with pytest.raises(ConfigError, match="num_ensemble_views is 0"):
        EvaluationClips(*given, 0, 3)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> TinyDataset:
    return build_dataset(tmp_path_factory.mktemp("wide"), {"val": 3}, num_frames=12, size=(56, 32))


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["cnn_lstm", "x3d_xs"])
def test_multi_view_evaluation_is_a_loop_over_views(wide: TinyDataset, make_view: MakeView, name: str) -> None:
    torch.manual_seed(0)
    view = make_view(sampling_rate=2)
    model: nn.Module = build(name, 2, 4, 32, narrow=True).eval()
    data = EvaluationClips(wide.manifest, wide.store, wide.classes, "val", view, 3, 3)
    videos = video_predictions(score(model, data))
    for number, entry in enumerate(data.entries):
        with data._reader.open(entry) as frames, torch.inference_mode():
            said = []
            for window in view_windows(12, 4, 2, 3):
                pictures = frames.decode(window.tolist())  # (T, C, 32, 56): no resize is needed
                for left in (0, 12, 24):
                    video = pictures[..., left : left + 32].transpose(0, 1).unsqueeze(0)
                    said.append(model(normalise(video, view)).softmax(dim=1)[0].numpy())
        found = videos["probabilities"][number].as_py()
        np.testing.assert_allclose(found, np.mean(said, axis=0), atol=1e-5)
        assert videos["num_views"][number].as_py() == 9


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_neither_batch_nor_order_changes_what_is_said(
    wide: TinyDataset, make_view: MakeView, batch_size: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = build("cnn_lstm", 2, 4, 32, narrow=True)
    data = EvaluationClips(wide.manifest, wide.store, wide.classes, "val", make_view(), 2, 3)
    reference = score(model, data, batch_size=6)
    other = score(model, data, batch_size=batch_size)
    backwards = EvaluationClips(wide.manifest.take(list(range(len(wide.manifest)))[::-1]), wide.store, wide.classes,
                                "val", make_view(), 2, 3)  # fmt: skip
    turned = score(model, backwards, batch_size=batch_size).sort_by([("clip_id", "ascending"), ("view", "ascending")])
    for one, two in (
        (reference, other),
        (reference.sort_by([("clip_id", "ascending"), ("view", "ascending")]), turned),
    ):
        assert one["clip_id"] == two["clip_id"]
        first, second = (np.array(table["probabilities"].to_pylist()) for table in (one, two))
        np.testing.assert_allclose(first, second, atol=1e-5)
        assert (first.argmax(axis=1) == second.argmax(axis=1)).all()
