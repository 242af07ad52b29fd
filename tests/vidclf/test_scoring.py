"""Scoring and predicting: what a model says about whole videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from tests.vidclf.conftest import TinyDataset
from vidclf import predict
from vidclf.data.view import View
from vidclf.errors import ConfigError, MediaError
from vidclf.evaluation.clips import EvaluationClips
from vidclf.evaluation.metrics import evaluate, video_predictions
from vidclf.evaluation.scoring import PREDICTIONS, score
from vidclf.models import build, checkpoint
from vidclf.storage import Store

Make = Callable[..., TinyDataset]
MakeView = Callable[..., View]


class RisingRed(nn.Module):
    """Knows the order: says class 1 where red rises from each frame to the next, as it does in every stored clip."""

    def forward(self, video: Tensor) -> Tensor:
        rising = (video[:, 0].mean(dim=(2, 3)).diff(dim=1) > 0).all(dim=1).float()
        return torch.stack([1 - rising, rising], dim=1) * 10


def dataset(tiny: TinyDataset, view: View, num_views: int = 1) -> EvaluationClips:
    return EvaluationClips(tiny.manifest, tiny.store, tiny.classes, "val", view, num_views)


def test_there_is_one_row_per_video_and_view(make_dataset: Make, make_view: MakeView) -> None:
    data = dataset(make_dataset({"val": 2}), make_view(), num_views=3)
    steps: list[tuple[int, int]] = []
    table = score(RisingRed(), data, batch_size=3, on_step=lambda done, total, text: steps.append((done, total)))
    assert table.schema == PREDICTIONS
    assert table["view"].to_pylist() == [0, 1, 2] * 4
    assert table["clip_id"].to_pylist()[::3] == [entry.clip_id for entry in data.entries]
    assert table["label_id"].to_pylist()[::3] == [0, 1, 0, 1]
    assert all(sum(p) == pytest.approx(1) for p in table["probabilities"].to_pylist())
    assert all(seconds > 0 for seconds in video_predictions(table)["seconds"].to_pylist())
    assert steps == [(3, 4), (4, 4)]


def test_the_size_of_batches_does_not_change_the_answer(make_dataset: Make, make_view: MakeView) -> None:
    data = dataset(make_dataset({"val": 3}), make_view(), num_views=2)
    torch.manual_seed(0)
    model = build("cnn_lstm", 2).train()  # scoring has to switch dropout and batch statistics off
    tables = [score(model, data, batch_size=size) for size in (1, 4)]
    first, second = (np.array(table["probabilities"].to_pylist()) for table in tables)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_shuffling_takes_the_order_away_and_nothing_else(make_dataset: Make, make_view: MakeView) -> None:
    data = dataset(make_dataset({"val": 6}), make_view(num_frames=8, sampling_rate=1))
    stored, shuffled = score(RisingRed(), data), score(RisingRed(), data, frame_order="shuffled")
    answers = [np.argmax(p) for p in stored["probabilities"].to_pylist()]
    assert answers == [1] * 12
    assert sum(np.argmax(p) for p in shuffled["probabilities"].to_pylist()) == 0
    again = score(RisingRed(), data, frame_order="shuffled", batch_size=5)
    assert again["probabilities"] == shuffled["probabilities"]
    model = build("frame_cnn", 2)
    in_order = np.array(score(model, data)["probabilities"].to_pylist())
    out_of_order = np.array(score(model, data, frame_order="shuffled")["probabilities"].to_pylist())
    np.testing.assert_allclose(in_order, out_of_order, atol=1e-5)


class Particular(RisingRed):
    """Does ``what`` with videos of the class "light", whose green is high; a batch with one of them is spoilt whole."""

    def __init__(self, what: Callable[[Tensor], Tensor]):
        super().__init__()
        self.what = what

    def forward(self, video: Tensor) -> Tensor:
        logits: Tensor = super().forward(video)
        return self.what(logits) if (video[:, 1].mean(dim=(1, 2, 3)) > 0).any() else logits


def statuses(table: pa.Table) -> list[tuple[str, str, str | None]]:
    rows = table.select(["clip_id", "status", "message"]).to_pylist()
    return [tuple(row.values()) for row in rows]  # type: ignore[misc]


def test_a_clip_that_the_model_cannot_take_costs_that_clip_and_says_why(
    make_dataset: Make, make_view: MakeView
) -> None:
    def refuse(logits: Tensor) -> Tensor:
        raise RuntimeError("too\nlight")

    data = dataset(make_dataset({"val": 2}), make_view(), num_views=2)
    refused = score(Particular(refuse), data, batch_size=4)
    assert statuses(refused)[::2] == [
        ("val-dark-0", "ok", None),
        ("val-light-0", "error", "RuntimeError: too light"),
        ("val-dark-1", "ok", None),
        ("val-light-1", "error", "RuntimeError: too light"),
    ]
    assert refused["view"].to_pylist() == [0, 1] * 4
    assert [p is None for p in refused["probabilities"].to_pylist()] == [False, False, True, True] * 2
    assert evaluate(refused, data.classes).videos == 2


def test_an_answer_that_is_not_a_number_is_a_row_that_says_so(make_dataset: Make, make_view: MakeView) -> None:
    data = dataset(make_dataset({"val": 1}), make_view())
    table = score(Particular(lambda logits: logits * float("nan")), data, batch_size=1)
    assert [status for _, status, _ in statuses(table)] == ["ok", "not_a_number"]
    with pytest.raises(ConfigError, match="no video to judge: val-light-0 is not_a_number"):
        evaluate(table.slice(1), data.classes)


def test_a_clip_that_cannot_be_read_is_a_row_with_its_kind_of_error(make_dataset: Make, make_view: MakeView) -> None:
    tiny = make_dataset({"val": 2})
    data = dataset(tiny, make_view(), num_views=2)
    data.entries[1] = replace(data.entries[1], path="frames/nowhere.parquet")
    found = statuses(score(RisingRed(), data))
    assert [status for _, status, _ in found] == ["ok"] * 2 + ["storage"] * 2 + ["ok"] * 4
    assert "nowhere.parquet" in str(found[2][2])


def test_memory_that_runs_out_halves_the_batch_until_it_fits(make_dataset: Make, make_view: MakeView) -> None:
    class Hungry(RisingRed):
        most = 2
        sizes: ClassVar[list[int]] = []

        def forward(self, video: Tensor) -> Tensor:
            self.sizes.append(len(video))
            if len(video) > self.most:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
            return super().forward(video)

    data = dataset(make_dataset({"val": 2}), make_view(), num_views=4)
    table = score(Hungry(), data, batch_size=2)
    assert set(table["status"].to_pylist()) == {"ok"}
    assert Hungry.sizes[:3] == [8, 4, 2]
    assert max(Hungry.sizes[3:]) == 2  # it is remembered
    Hungry.most = 0
    assert set(score(Hungry(), data)["status"].to_pylist()) == {"out_of_memory"}


def write_video(path: Path, frames: np.ndarray) -> None:
    """uint8 (T, H, W, 3) → a losslessly encoded file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=10, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def as_video(label_id: int, num_frames: int = 8) -> np.ndarray:
    """What ``conftest`` stores for a clip of this class, uncompressed."""
    frames = np.empty((num_frames, 32, 40, 3), np.uint8)
    for index in range(num_frames):
        frames[index] = (20 * index, 60 + 120 * label_id, 0)
    return frames


@pytest.fixture
def trained(tmp_path: Path, make_dataset: Make, make_view: MakeView) -> tuple[Path, EvaluationClips]:
    """A checkpoint with random weights, and the videos it is judged on."""
    tiny = make_dataset({"val": 1})
    data = dataset(tiny, make_view(), num_views=3)
    torch.manual_seed(0)
    card = checkpoint.ModelCard(
        model="cnn_lstm", classes=("dark", "light"), view=data.view, weights="none", snapshot_id="s", train_config={}
    )
    model: Any = build("cnn_lstm", 2)
    with torch.no_grad():
        model.head.weight *= 50  # random weights hardly tell two videos apart; these do, around one half
        answers = np.array(score(model, data)["probabilities"].to_pylist())
        model.head.bias -= torch.from_numpy(np.log(answers).mean(axis=0)).float()
    checkpoint.save(Store(tmp_path), "model", model, card)
    return tmp_path / "model", data


def test_predict_says_about_a_file_what_evaluation_says_about_its_clip(
    tmp_path: Path, trained: tuple[Path, EvaluationClips]
) -> None:
    folder, data = trained
    paths = [tmp_path / "dark.mp4", tmp_path / "light.mp4"]
    for label_id, path in enumerate(paths):
        write_video(path, as_video(label_id))
    classifier = predict.load(folder, device="cpu")
    assert classifier.classes == ["dark", "light"]
    videos = video_predictions(score(checkpoint.load(folder)[0], data))
    assert abs(np.subtract(*videos["probabilities"].to_pylist())).max() > 0.1
    for prediction, expected in zip(classifier.predict(paths), videos["probabilities"].to_pylist(), strict=True):
        assert [dict(prediction.labels)[name] for name in classifier.classes] == pytest.approx(expected, abs=0.01)
        assert prediction.probability == max(probability for _, probability in prediction.labels)
        assert prediction.label == classifier.classes[int(np.argmax(expected))]


def test_predict_gives_as_many_labels_as_asked_for(tmp_path: Path, trained: tuple[Path, EvaluationClips]) -> None:
    classifier = predict.load(trained[0])
    write_video(tmp_path / "one frame.mp4", as_video(0, num_frames=1))
    assert [len(classifier.predict([tmp_path / "one frame.mp4"], top_k=k)[0].labels) for k in (1, 5)] == [1, 2]


def test_predict_refuses_what_is_no_video(tmp_path: Path, trained: tuple[Path, EvaluationClips]) -> None:
    classifier = predict.load(trained[0])
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(MediaError, match=r"text\.mp4"):
        classifier.predict([tmp_path / "text.mp4"])
    with pytest.raises(ConfigError, match=r"none\.mp4 is not a file"):
        classifier.predict([tmp_path / "none.mp4"])
    with pytest.raises(ConfigError, match="a list of paths"):
        classifier.predict("video.mp4")
    with pytest.raises(ConfigError, match="at least 1"):
        classifier.predict([], top_k=0)


def test_a_model_that_knows_is_found_to_know(make_dataset: Make, make_view: MakeView) -> None:
    class Green(nn.Module):
        def forward(self, video: Tensor) -> Tensor:
            light = video[:, 1].mean(dim=(1, 2, 3))
            return torch.stack([-light, light], dim=1)

    data = dataset(make_dataset({"val": 4}), make_view(), num_views=2)
    result = evaluate(score(Green(), data), data.classes)
    assert (result.video_top1.value, result.videos) == (1.0, 8)
    assert result.confusion == [[4, 0], [0, 4]]
