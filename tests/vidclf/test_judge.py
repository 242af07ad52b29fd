"""What a model said is kept, found again, gone on with, and accounted for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from tests.evaluated import KINETICS, UNKNOWN, dataset, loud, question, untrained
from tests.snapshotted import DATASET
from vidclf.config import DataConfig, EvaluateConfig, parse
from vidclf.errors import ConfigError
from vidclf.evaluation import judge
from vidclf.evaluation.answers import answers_table, as_csv
from vidclf.evaluation.batching import in_steps, peak_bytes, views_that_fit
from vidclf.evaluation.judge import Block, Jury, Question, answer, finish, give_up, open_blocks, statuses
from vidclf.evaluation.labels import kinetics400_classes
from vidclf.evaluation.published import published_checkpoint
from vidclf.evaluation.summary import evaluated, markdown
from vidclf.evaluation.verdict import verdict
from vidclf.models import available_models, build, checkpoint
from vidclf.models.checkpoint import load, read_card
from vidclf.storage import Store


@pytest.fixture
def asked(tmp_path: Path) -> Question:
    """About eight videos; two more failed."""
    dataset(tmp_path, {"test": 4}, failed=2)
    return question(tmp_path, untrained(tmp_path))


def test_predictions_have_one_row_per_video_and_view_beside_the_checkpoint(asked: Question) -> None:
    several = replace(asked, num_spatial_crops=3)
    table = answer(several)
    assert table.equals(pq.read_table(f"{several.model_uri}/{several.predictions_path}"))
    assert table.group_by("clip_id").aggregate([("view", "count")])["view_count"].to_pylist() == [6] * 8
    assert table["ensemble_view"].to_pylist()[:6] == [0, 0, 0, 1, 1, 1]
    assert table["spatial_crop"].to_pylist()[:6] == [0, 1, 2, 0, 1, 2]
    assert not Store(several.model_uri).files(several.parts_path)


def test_blocks_that_are_finished_are_not_asked_about_again(asked: Question) -> None:
    blocks = open_blocks(asked, 3)
    assert [len(block.indices) for block in blocks] == [3, 3, 2]
    assert Jury().settle(blocks[1]) == (3, 0)
    assert [block.indices for block in open_blocks(asked, 3)] == [(0, 1, 2), (6, 7)]
    table = answer(asked, block_size=3)
    assert len(table) == 16
    assert open_blocks(asked) == []
    kept = Path(asked.model_uri, asked.predictions_path)
    before = kept.stat().st_mtime_ns
    assert answer(asked).equals(table)
    assert kept.stat().st_mtime_ns == before


def test_another_question_has_another_answer(asked: Question) -> None:
    others = [
        replace(asked, num_ensemble_views=3), replace(asked, num_spatial_crops=3), replace(asked, split="val"),
        replace(asked, frame_order="shuffled"), replace(asked, frame_order="shuffled", seed=1), replace(asked, sample=3),
    ]  # fmt: skip
    assert len({one.folder for one in (asked, *others)}) == 7
    assert replace(asked, name="other", seed=5).folder == asked.folder  # the seed decides nothing there


def test_what_failed_for_a_while_is_asked_again_and_what_crashed_is_not(asked: Question) -> None:
    answer(asked)
    give_up(Block(asked, (1,)), "storage", "gone for a while")  # says nothing against what is known
    finish(asked)
    assert set(statuses(asked).values()) == {"ok"}
    other = replace(asked, num_ensemble_views=1)
    give_up(Block(other, (1,)), "storage", "gone for a while")
    give_up(Block(other, (2,)), "crashed", "it died")
    answer(other)
    assert sorted(statuses(other).values()) == ["crashed", *["ok"] * 7]
    assert open_blocks(other) == []


def test_a_part_of_clips_that_are_asked_again_does_not_replace_another(asked: Question) -> None:
    Jury().settle(Block(asked, tuple(range(8))))
    give_up(Block(asked, (0, 7)), "storage", "gone for a while")
    finish(asked)
    assert set(statuses(asked).values()) == {"ok"}


def test_actors_and_blocks_do_not_change_what_is_said(asked: Question) -> None:
    one = answer(asked, block_size=8)
    other = replace(asked, model_uri=asked.model_uri)
    Store(asked.model_uri).delete_folder(asked.folder)
    for block in reversed(open_blocks(other, 3)):
        Jury(batch_views=1).settle(block)
    finish(other)
    again = pa.concat_tables(judge.read_predictions(other))
    assert again["clip_id"] == one["clip_id"]
    first, second = (np.array(table["probabilities"].to_pylist()) for table in (one, again))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_a_verdict_accounts_for_every_annotated_video(asked: Question) -> None:
    answer(asked)
    found = verdict(asked)
    assert found.evaluation.coverage is not None
    assert (found.evaluation.coverage.annotated, found.evaluation.coverage.scored) == (10, 8)
    said = markdown(evaluated(found))
    assert "2 of 10 annotated videos could not be scored: 2 gone." in said
    assert "| video top-1 if the missing were wrong |" in said
    assert found.cost.parameters > 1e6
    assert found.cost.gflops > 0


def test_the_table_has_a_row_for_every_annotated_video(asked: Question) -> None:
    answer(asked)
    found = verdict(asked)
    table = answers_table(found.rows, found.tally, found.classes, found.outcomes, top_k=5)
    assert table.column_names == ["id", "truth", "status", "pred_1", "pred_2", "score_1", "score_2"]
    rows = {row["id"]: row for row in table.to_pylist()}
    assert len(rows) == 10
    gone = rows["test-failed-0"]
    assert (gone["status"], gone["pred_1"], gone["score_1"]) == ("gone", None, None)
    for clip_id, likely in zip(found.tally.videos["clip_id"].to_pylist(),
                               found.tally.videos["probabilities"].to_pylist(), strict=True):  # fmt: skip
        row = rows[clip_id]
        assert row["pred_1"] == found.classes[int(np.argmax(likely))]
        assert row["score_1"] == pytest.approx(max(likely))
        assert row["score_1"] >= row["score_2"]
    read = pa.csv.read_csv(pa.BufferReader(as_csv(table)))
    assert read["id"].to_pylist() == table["id"].to_pylist()


def test_a_sample_is_judged_and_accounted_for_as_a_sample(asked: Question) -> None:
    sample = replace(asked, sample=5, seed=2)
    answer(sample)
    found = verdict(sample)
    assert found.evaluation.coverage is not None
    assert found.evaluation.coverage.annotated == 5
    assert "a sample of 5 drawn by seed 2" in evaluated(found).caption


def test_a_model_of_other_frames_is_said_to_be_one(asked: Question) -> None:
    model, card = load(asked.model_uri)
    view = card.view.model_copy(update={"stored": card.view.stored.model_copy(update={"num_frames": 32})})
    checkpoint.save(Store(asked.store), "models/other", model, card.model_copy(update={"view": view}))
    other = replace(asked, model_uri=f"{asked.store}/models/other")
    answer(other)
    assert "its views lie otherwise in time" in verdict(other).notices[0]


def test_a_split_without_videos_is_refused(asked: Question) -> None:
    with pytest.raises(ConfigError, match="split 'val' of tiny has no labelled video"):
        answer(replace(asked, split="val"))


def with_head(folder: Path, model: str) -> Path:
    """A file of the published layout, with random weights for 400 classes; of a narrow network."""
    torch.manual_seed(0)
    network = loud(build(model, 400, 8, 32, narrow=True))
    path = folder / f"{model}.pyth"
    torch.save({"model_state": network.state_dict()}, path)
    return path


WITH_KINETICS = [spec.name for spec in available_models() if "kinetics400" in spec.weights]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of few channels wherever a checkpoint is made or read."""
    from functools import partial

    for module in ("vidclf.evaluation.published", "vidclf.models.checkpoint"):
        monkeypatch.setattr(f"{module}.build", partial(build, narrow=True))


@pytest.mark.thorough
@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("model", ["i3d_r50", "slowfast_r50", "x3d_xs", "efficient_x3d_xs", "mvit_base_16x4", "r3d_18", "s3d",
                                   "swin3d_t", "mvit_v2_s", "csn_r101", "r2plus1d_r50"])  # fmt: skip
def test_a_published_model_is_a_checkpoint_with_its_own_head(tmp_path: Path, model: str) -> None:
    assert model in WITH_KINETICS
    snapshot = dataset(tmp_path, {"test": 1}, KINETICS)
    frames = 32 if model == "csn_r101" else 8
    data = DataConfig(num_frames=frames, side_size=32, crop_size=32)
    torch.manual_seed(0)
    theirs = build(model, 400, frames, 32, narrow=True).eval()
    path = tmp_path / "published.pyth"
    torch.save({"model_state": theirs.state_dict()}, path)
    uri = published_checkpoint(str(tmp_path / "store"), model, DATASET, snapshot.snapshot_id, data, str(path))
    ours, card = load(uri)
    assert card.classes == kinetics400_classes()
    video = torch.rand(1, 3, frames, 32, 32)
    with torch.inference_mode():
        assert torch.equal(ours(video), theirs(video))
    assert uri == published_checkpoint(str(tmp_path / "store"), model, DATASET, snapshot.snapshot_id, data, str(path))


@pytest.mark.usefixtures("narrow")
def test_a_published_model_is_judged_on_the_classes_that_it_knows(tmp_path: Path) -> None:
    snapshot = dataset(tmp_path, {"test": 4}, KINETICS, failed=1)
    data = DataConfig(num_frames=8, side_size=32, crop_size=32)
    origin = str(with_head(tmp_path, "i3d_r50"))
    uri = published_checkpoint(str(tmp_path / "store"), "i3d_r50", DATASET, snapshot.snapshot_id, data, origin)
    asked = question(tmp_path, uri, num_spatial_crops=3)
    table = answer(asked)
    classes = read_card(uri).classes
    assert {classes[i] for i in table["label_id"].to_pylist()} == {"robot dancing", "tap dancing"}
    found = verdict(asked)
    assert found.evaluation.coverage is not None
    assert found.evaluation.coverage.reasons == {"gone": 1, "unknown_class": 1}
    assert found.evaluation.coverage.unknown_classes == {UNKNOWN: 1}
    assert "The I3D of TF-Hub" in found.notices[0]  # it is another network
    assert found.notices[1].endswith("their videos are not scored: moonwalking (1).")
    assert found.evaluation.video_top5 is not None
    truths = answers_table(found.rows, found.tally, found.classes, found.outcomes, 5)["truth"].to_pylist()
    assert set(truths) == {*KINETICS.values(), UNKNOWN}


def test_weights_without_a_head_for_kinetics_400_are_refused(tmp_path: Path) -> None:
    snapshot = dataset(tmp_path, {"test": 1}, KINETICS)
    path = tmp_path / "x3d.pyth"
    torch.save({"model_state": build("x3d_xs", 12).state_dict()}, path)
    given = (str(tmp_path / "store"), "x3d_xs", DATASET, snapshot.snapshot_id, DataConfig(num_frames=4, crop_size=32))
    with pytest.raises(ConfigError, match="have no head for the 400 classes"):
        published_checkpoint(*given, str(path))
    with pytest.raises(ConfigError, match="'cnn_lstm' has no weights trained on Kinetics-400"):
        published_checkpoint(given[0], "cnn_lstm", *given[2:])


def test_batches_fit_the_memory_that_is_given(asked: Question) -> None:
    model, card = load(asked.model_uri)
    cpu = torch.device("cpu")
    few, many = (views_that_fit(model, card.view, cpu, memory) for memory in (1, 10**12))
    assert (few, many) == (1, 256)
    taken = peak_bytes(lambda: torch.ones(200_000_000, dtype=torch.uint8).max(), cpu)
    assert 190e6 < taken < 260e6


def test_an_error_that_is_not_about_memory_is_not_tried_smaller() -> None:
    def fail(part: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        in_steps(fail, torch.zeros(4, 1), 4)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"model": "i3d_r50"}, "a name needs weights: kinetics400"),
        ({"model": "resnet", "weights": "kinetics400"}, "model 'resnet' is unknown"),
        ({"model": "a/b", "num_spatial_crops": 2}, "setting 'num_spatial_crops' is 2"),
        (
            {"model": "a/b", "judging": {"num_actor": 2}},
            "'judging.num_actor' does not exist; there are: actors_per_gpu",
        ),
    ],
)
def test_a_wrong_request_is_one_line(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        parse(EvaluateConfig, {"dataset": "tiny", **settings})
    assert "\n" not in str(caught.value)
