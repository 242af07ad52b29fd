"""The training loop: it learns, it says what it did, and it refuses what cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.vidclf.tiny_training import VIEW, Kept, Make, Tiny, assert_same_weights, config, datasets, tiny_model
from vidclf.config import TrainConfig
from vidclf.errors import ConfigError, VidclfError
from vidclf.training.feed import Loading
from vidclf.training.loop import Watch, train
from vidclf.training.plan import EpochPlan
from vidclf.training.randomness import seed_everything
from vidclf.training.reports import EpochReport
from vidclf.training.run import initial_model


def test_training_learns_what_can_be_learnt(make_dataset: Make) -> None:
    trained = train(tiny_model(), *datasets(make_dataset({"train": 6, "val": 3})), config(epochs=8))
    history = trained.history
    assert [report.epoch for report in history] == list(range(1, 9))
    assert history[-1].train_loss < history[0].train_loss
    assert history[-1].val_top1 == 1.0
    assert history[-1].val_videos == 6


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "step", "constant"])
def test_every_optimiser_learns_with_every_schedule(make_dataset: Make, optimizer: str, schedule: str) -> None:
    rate = {"adamw": 0.05, "sgd": 0.3}[optimizer]
    settings = config(epochs=8, optimizer=optimizer, schedule=schedule, learning_rate=rate, warmup_epochs=1, dropout=0)
    trained = train(tiny_model(dropout=0), *datasets(make_dataset({"train": 6, "val": 2})), settings)
    assert trained.history[-1].train_loss < 0.6 * trained.history[0].train_loss


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_too(make_dataset: Make, precision: str) -> None:
    settings = config(epochs=8, precision=precision)
    trained = train(tiny_model(), *datasets(make_dataset({"train": 6, "val": 2})), settings)
    assert trained.history[-1].train_loss < trained.history[0].train_loss
    assert trained.module.state_dict()["conv.weight"].dtype == torch.float32


def test_channels_last_changes_nothing_but_rounding(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 4, "val": 1})
    plain, last = tiny_model(), tiny_model()
    train(plain, *datasets(tiny), config(epochs=2, optimizer="sgd"))
    train(last, *datasets(tiny), config(epochs=2, optimizer="sgd", top={"channels_last": True}))
    assert last.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(plain.state_dict(), last.state_dict(), rtol=1e-3, atol=1e-4)


def test_accumulated_batches_make_the_step_of_one_large_batch(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 6, "val": 1})
    frozen = dict(freeze=2, dropout=0.0, epochs=2)  # batch statistics would differ
    large, small = tiny_model(dropout=0), tiny_model(dropout=0)
    train(large, *datasets(tiny), config(batch_size=4, **frozen))
    train(small, *datasets(tiny), config(batch_size=2, accumulation_steps=2, **frozen))
    torch.testing.assert_close(large.state_dict(), small.state_dict(), rtol=1e-5, atol=1e-6)


def test_training_twice_gives_the_same_weights_and_another_seed_others(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 4, "val": 1})

    def trained(seed: int) -> Tiny:
        model = tiny_model()
        train(model, *datasets(tiny), config(epochs=2, top={"seed": seed}))
        return model

    assert_same_weights(trained(0), trained(0))
    assert not torch.equal(trained(0).head.weight, trained(1).head.weight)


def test_every_epoch_trains_on_other_views(make_dataset: Make) -> None:
    class Recorder(Tiny):
        seen: dict[int, list[float]]

        def forward(self, video: Tensor) -> Tensor:
            if self.training:
                self.seen.setdefault(len(reports), []).extend(video.mean(dim=(1, 2, 3, 4)).tolist())
            return super().forward(video)

    reports: list[EpochReport] = []
    model = Recorder()
    model.seen = {}
    tiny = make_dataset({"train": 4, "val": 1})  # batches that hold every clip: only the views can differ
    train(model, *datasets(tiny), config(batch_size=8), Watch(on_epoch=reports.append))
    views = [tuple(sorted(round(mean, 3) for mean in model.seen[epoch])) for epoch in range(3)]
    assert len(set(views)) == 3


def test_reader_processes_give_what_one_process_gives(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 4, "val": 1})
    alone, helped = tiny_model(), tiny_model()
    train(alone, *datasets(tiny), config())
    train(helped, *datasets(tiny), config(), loading=Loading(2))
    assert_same_weights(alone, helped)


def test_training_stops_when_nothing_gets_better(make_dataset: Make) -> None:
    settings = config(epochs=30, learning_rate=1e-9, patience=2, min_delta=0.01)
    trained = train(tiny_model(), *datasets(make_dataset({"train": 4, "val": 2})), settings)
    assert len(trained.history) == 3  # the first, and two that were no better
    assert trained.best_epoch <= 3


def test_the_best_epoch_is_told_when_it_comes(make_dataset: Make) -> None:
    best: list[tuple[int, Tensor]] = []
    watch = Watch(on_best=lambda model, report: best.append((report.epoch, model.state_dict()["head.weight"].clone())))
    settings = config(epochs=6, monitor="val_loss")
    trained = train(tiny_model(), *datasets(make_dataset({"train": 6, "val": 2})), settings, watch)
    losses = [report.val_loss for report in trained.history]
    assert [epoch for epoch, _ in best] == [n + 1 for n, loss in enumerate(losses) if loss == min(losses[: n + 1])]
    assert trained.best_epoch == best[-1][0] == losses.index(min(losses)) + 1


def test_the_moving_average_is_what_is_judged_and_kept(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 4, "val": 1})
    model = tiny_model()
    steps: list[Tensor] = []
    watch = Watch(on_step=lambda *_: steps.append(model.head.weight.detach().clone()))
    trained = train(model, *datasets(tiny), config(ema_decay=0.8), watch)
    expected = steps[0]
    for weight in steps[1:]:
        expected = 0.8 * expected + 0.2 * weight
    torch.testing.assert_close(trained.module.state_dict()["head.weight"], expected)
    assert not torch.equal(trained.module.state_dict()["head.weight"], model.head.weight)


def test_a_fast_dev_run_is_one_batch_of_everything(make_dataset: Make) -> None:
    steps: list[tuple[int, int, str]] = []
    settings = config(batch_size=2, top={"fast_dev_run": True})
    watch = Watch(on_step=lambda *said: steps.append(said))
    trained = train(tiny_model(), *datasets(make_dataset({"train": 5, "val": 3})), settings, watch)
    assert steps == [(1, 1, "epoch 1 of 1, step 1 of 1")]
    assert trained.history[-1].val_videos == 2


def test_the_report_has_the_numbers_that_a_tracker_wants(make_dataset: Make) -> None:
    settings = config(epochs=1, layer_decay=0.5)
    metrics = train(tiny_model(), *datasets(make_dataset({"train": 4, "val": 1})), settings).history[-1].metrics()
    expected = {"train_loss", "train_top1", "val_loss", "val_top1", "learning_rate", "clips_per_second", "seconds"}
    expected |= {"data_share", "epoch", "val_videos", "trained_from_block", "unreadable"}
    expected |= {"learning_rate/conv", "learning_rate/norm", "learning_rate/head"}
    assert expected == metrics.keys()
    assert 0 < metrics["data_share"] < 1
    assert metrics["learning_rate"] == metrics["learning_rate/head"] == pytest.approx(4 * metrics["learning_rate/conv"])


def test_a_loss_that_is_not_a_number_ends_the_training(make_dataset: Make) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    with pytest.raises(VidclfError, match="loss is nan after epoch 1"):
        train(model, *datasets(make_dataset({"train": 2, "val": 1})), config())


def test_a_state_is_a_copy_that_later_steps_do_not_change(make_dataset: Make, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept")
    train(tiny_model(), *datasets(make_dataset({"train": 4, "val": 1})), config(), kept.watch())
    assert [kept[number]["epoch"] for number in range(3)] == [1, 2, 3]
    heads = [kept[number]["learner"]["model"]["head.weight"] for number in (0, 2)]
    assert not torch.equal(*heads)


def test_a_training_starts_from_its_seed() -> None:
    settings = TrainConfig(dataset="d", model="frame_cnn", seed=3)
    view = VIEW.model_copy(update={"side_size": 32, "crop_size": 32})
    torch.rand(5)
    first, second = (initial_model(settings, 2, view).state_dict() for _ in range(2))
    other = initial_model(settings.model_copy(update={"seed": 4}), 2, view).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_seeds_differ_by_epoch_and_rank() -> None:
    def drawn(*key: int) -> float:
        seed_everything(*key)
        return float(torch.rand(1))

    assert len({drawn(0, epoch, rank) for epoch in range(3) for rank in range(3)}) == 9
    assert drawn(0, 1, 2) == drawn(0, 1, 2)


@pytest.mark.parametrize("num_samples", [6, 7, 23, 24])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_rank_takes_the_same_number_of_equal_steps_and_no_clip_twice(num_samples: int, world_size: int) -> None:
    settings = config(batch_size=6)
    for epoch in range(2):
        plans = [EpochPlan.of(num_samples, settings, rank, world_size) for rank in range(world_size)]
        batches = [plan.batches(epoch) for plan in plans]
        assert len({tuple(len(batch) for batch in of_rank) for of_rank in batches}) == 1
        taken = [index for of_rank in batches for batch in of_rank for index in batch]
        assert len(taken) == len(set(taken)) > 0
        assert len(batches[0]) == plans[0].steps


def test_an_epoch_goes_on_with_the_batches_that_are_left() -> None:
    plan = EpochPlan.of(23, config(batch_size=3, accumulation_steps=2))
    assert (plan.num_batches, plan.steps, plan.total_steps) == (7, 4, 12)
    assert [plan.batches_in(step) for step in range(4)] == [2, 2, 2, 1]
    assert plan.batches(2, first_step=3) == plan.batches(2)[6:]


def test_two_workers_see_in_a_step_what_one_sees() -> None:
    alone = EpochPlan.of(20, config(batch_size=6)).batches(3)
    together = [EpochPlan.of(20, config(batch_size=6), rank, 2).batches(3) for rank in range(2)]
    assert [set(batch) for batch in alone] == [set(a) | set(b) for a, b in zip(*together, strict=True)]
    assert alone != EpochPlan.of(20, config(batch_size=6)).batches(4)


def test_samples_are_drawn_by_their_probabilities() -> None:
    plan = EpochPlan.of(100, config(batch_size=10), probabilities=[0.0] * 50 + [0.02] * 50)
    drawn = [index for batch in plan.batches(0) for index in batch]
    assert min(drawn) >= 50
    assert len(drawn) == 100


def test_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="8 workers cannot share batches of 4 clips equally"):
        EpochPlan.of(100, config(batch_size=4), 0, 8)
    with pytest.raises(
        ConfigError, match=r"optim.batch_size is 8, but split 'train' has 6 clips and variants: at most 6"
    ):
        EpochPlan.of(6, config(batch_size=8))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants a compiler")
@pytest.mark.filterwarnings("default")  # the compiler's own
def test_a_compiled_model_learns_the_same_and_keeps_its_names(make_dataset: Make) -> None:
    tiny = make_dataset({"train": 4, "val": 1})
    plain, compiled = tiny_model(dropout=0), tiny_model(dropout=0)
    names = list(compiled.state_dict())
    train(plain, *datasets(tiny), config(epochs=2, optimizer="sgd"))
    train(compiled, *datasets(tiny), config(epochs=2, optimizer="sgd", top={"compile": True}))
    assert list(compiled.state_dict()) == names
    torch.testing.assert_close(plain.state_dict(), compiled.state_dict(), rtol=1e-3, atol=1e-4)
