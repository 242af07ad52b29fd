"""Rates, groups and what learns when."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import OneCycleLR

from tests.vidclf.tiny_training import Make, config, datasets, tiny_model
from vidclf.config import OptimConfig, parse
from vidclf.errors import ConfigError
from vidclf.models.blocks import blocks
from vidclf.training.freezing import Stage, stages
from vidclf.training.loop import Watch, train
from vidclf.training.optim import build_optimizer, parameter_groups
from vidclf.training.schedule import Schedule


@pytest.mark.parametrize("total", [2, 7, 50])
@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_one_cycle_is_torchs(kind: type, total: int) -> None:
    def optimizer() -> Any:
        group = {"params": [nn.Parameter(torch.zeros(1))], "initial_lr": 0.03}
        return AdamW([group], lr=0.03) if kind is AdamW else SGD([group], lr=0.03, momentum=0.9)

    theirs, ours = optimizer(), optimizer()
    schedule = OneCycleLR(theirs, max_lr=0.03, total_steps=total)
    own = Schedule(OptimConfig(), steps_per_epoch=total, total_steps=total)
    for step in range(total):
        own.set_rates(ours, step)
        for name in ("lr", "betas", "momentum"):
            assert ours.param_groups[0].get(name) == pytest.approx(theirs.param_groups[0].get(name)), (step, name)
        theirs.step()
        if step + 1 < total:
            schedule.step()


def factors(epochs: int = 10, steps: int = 4, **settings: Any) -> list[float]:
    made = Schedule(OptimConfig(epochs=epochs, **settings), steps, epochs * steps)
    return [made.factor(step) for step in range(epochs * steps)]


def test_cosine_falls_from_the_highest_rate_to_the_lowest() -> None:
    rates = factors(schedule="cosine", min_lr_factor=0.1)
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[20] == pytest.approx(0.55)
    assert 0.1 < rates[-1] < 0.11


def test_step_falls_by_gamma_every_step_size_epochs() -> None:
    rates = factors(schedule="step", step_size=4, gamma=0.5)
    assert rates == [1.0] * 16 + [0.5] * 16 + [0.25] * 8


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "step", "constant"])
def test_every_schedule_warms_up(schedule: str) -> None:
    rates = factors(schedule=schedule, warmup_epochs=2, warmup_factor=0.1)
    rise = rates[: 7 if schedule == "one_cycle" else 8]
    assert rise[0] == pytest.approx(0.1)
    assert rise == sorted(rise)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (7, 8)


def test_biases_and_norms_are_not_decayed() -> None:
    groups = build_optimizer(blocks(tiny_model()), 0, OptimConfig(weight_decay=0.3)).param_groups
    assert {(p.ndim > 1, group["weight_decay"]) for group in groups for p in group["params"]} == {
        (True, 0.3),
        (False, 0),
    }
    assert sum(len(group["params"]) for group in groups) == 6


def test_layers_near_the_input_learn_more_slowly() -> None:
    groups = parameter_groups(blocks(tiny_model()), 0, 3, OptimConfig(learning_rate=0.1, layer_decay=0.5))
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates == pytest.approx({"conv": 0.025, "norm": 0.05, "head": 0.1})


def test_stages_follow_from_the_settings() -> None:
    def of(**settings: Any) -> list[Stage]:
        return stages(OptimConfig(**settings), 6)

    assert of() == [Stage(0, 0)]
    assert of(freeze="backbone") == [Stage(0, 5)]
    assert of(freeze=3) == [Stage(0, 3)]
    moments = [dict(epoch=1, from_block=3, lr_factor=0.5), dict(epoch=4)]
    expected = [Stage(0, 5), Stage(1, 3, 0.5), Stage(4, 0, 0.1)]
    assert of(freeze="backbone", unfreeze_schedule=moments) == expected
    assert of(freeze=4, unfreeze_epoch=2, unfreeze_from_block=1) == [Stage(0, 4), Stage(2, 1, 0.1)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(freeze="bone"), "setting 'optim.freeze' is 'bone': expected none, backbone, or a number of blocks"),
        (dict(unfreeze_epoch=2), "there is something to unfreeze only with freeze"),
        (dict(freeze="backbone", unfreeze_epoch=20), "comes too late: there are 10 epochs"),
        (dict(freeze=3, unfreeze_epoch=2, unfreeze_from_block=3), "begins at an earlier block"),
        (dict(freeze=3, unfreeze_epoch=2, unfreeze_schedule=[{"epoch": 3}]), "at most one of them"),
        (dict(optimizer="adam"), "setting 'optim.optimizer' is 'adam': Input should be 'adamw' or 'sgd'"),
        (dict(nesterov=True), "nesterov needs optimizer sgd"),
        (dict(warmup_epochs=10), "warmup_epochs is 10, which must be less than epochs, 10"),
        (
            dict(learning_rat=0.1),
            "setting 'optim.learning_rat' does not exist; there are: accumulation_steps, batch_size",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(OptimConfig, settings, "optim")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_blocks_that_the_model_has_not_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"optim.freeze is 6, but the model has 6 blocks, .* at most 5"):
        stages(OptimConfig(freeze=6), 6)
    with pytest.raises(ConfigError, match="from block 7 on changes nothing: the blocks from 5 on learn already"):
        stages(OptimConfig(freeze="backbone", unfreeze_epoch=1, unfreeze_from_block=7), 6)


def test_what_is_frozen_does_not_change_by_a_bit_until_it_is_unfrozen(make_dataset: Make) -> None:
    model = tiny_model()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after: list[dict[str, Tensor]] = []
    watch = Watch(on_epoch=lambda _: after.append({name: t.clone() for name, t in model.state_dict().items()}))
    moments = [dict(epoch=1, from_block=1, lr_factor=0.5), dict(epoch=2, from_block=0, lr_factor=0.25)]
    settings = config(epochs=3, freeze="backbone", unfreeze_schedule=moments, schedule="constant")
    trained = train(model, *datasets(make_dataset({"train": 6, "val": 1})), settings, watch)

    def changed(epoch: int) -> set[str]:
        before = after[epoch - 1] if epoch else start
        return {name.split(".")[0] for name, tensor in after[epoch].items() if not torch.equal(tensor, before[name])}

    assert changed(0) == {"head"}
    assert changed(1) == {"head", "norm"}  # its statistics are among what is compared
    assert changed(2) == {"head", "norm", "conv"}
    assert [report.trained_from_block for report in trained.history] == [2, 1, 0]
    assert trained.history[2].learning_rates == pytest.approx({"head": 0.05, "norm": 0.025, "conv": 0.0125})
