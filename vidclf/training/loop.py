"""The training loop, plain PyTorch. Whoever spreads it over workers says which rank this is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidclf.config import TrainConfig
from vidclf.data.balance import sample_probabilities
from vidclf.data.dataset import ClipDataset, Failure
from vidclf.data.quarantine import Quarantine
from vidclf.errors import ConfigError, VidclfError
from vidclf.evaluation.scoring import Progress, ignore_progress
from vidclf.training.best import Best
from vidclf.training.clock import Clock
from vidclf.training.feed import HERE, Feed, FixedFeed, Loading
from vidclf.training.judging import judge
from vidclf.training.learner import Learner, OnInput
from vidclf.training.loss import Criterion
from vidclf.training.plan import EpochPlan
from vidclf.training.randomness import random_state, restore_random_state, seed_everything
from vidclf.training.rank import ALONE, Rank
from vidclf.training.reports import EpochReport, Judged
from vidclf.training.state import TrainState


def _ignore(*_: Any) -> None:
    """What nobody wants to know."""


@dataclass(frozen=True)
class Watch:
    """Who is told what. All ranks call them, but ``on_seen``, ``on_state``, ``on_best`` and ``on_unreadable``: the first one alone."""

    on_seen: OnInput = _ignore  # the first batch of the training as it enters the model: pictures, label ids

    on_step: Progress = ignore_progress  # steps done, steps in all, text
    on_state: Callable[[int, TrainState], None] = _ignore  # steps done, all that a resume needs; valid during the call
    on_best: Callable[[nn.Module, EpochReport], None] = _ignore  # the model of the best epoch so far
    on_unreadable: Callable[[dict[str, str]], None] = _ignore  # clip_id → reason, of all so far
    on_epoch: Callable[[EpochReport], None] = _ignore


NOBODY = Watch()


@dataclass(frozen=True)
class Trained:
    """How a training ended."""

    module: nn.Module  # what was judged: the weights, or their moving average
    history: list[EpochReport]  # of every epoch, also of those before a resume
    best_epoch: int
    judge: Callable[[nn.Module, ClipDataset], Judged]  # as validation did


def train(
    module: nn.Module,
    train_data: ClipDataset,
    val_data: ClipDataset,
    config: TrainConfig,
    watch: Watch = NOBODY,
    resume: TrainState | None = None,
    rank: Rank = ALONE,
    loading: Loading = HERE,
) -> Trained:
    """Fit ``module`` in place.

    Args:
        module: built by ``vidclf.models.build``, on the rank's device, not wrapped.
        train_data: made with ``train=True``.
        val_data: made with ``train=False``.
        config: ``data``, ``optim``, ``seed``, ``compile``, ``channels_last``, ``checkpoint_steps``, ``fast_dev_run``.
        watch: who is told what.
        resume: a state that ``on_state`` was given; what follows is then bit for bit what would have followed (CPU, same
            numbers of threads and workers).
        rank: this process among those that train together.
        loading: who reads and decodes.

    Raises:
        ConfigError: settings do not fit the model, the data or ``resume``.
        VidclfError: the loss is not a number any more.
    """
    return _Training(module, train_data, val_data, config, watch, resume, rank, loading).run()


class _Training:
    """What the parts of the loop share."""

    def __init__(
        self,
        module: nn.Module,
        train_data: ClipDataset,
        val_data: ClipDataset,
        config: TrainConfig,
        watch: Watch,
        resume: TrainState | None,
        rank: Rank,
        loading: Loading,
    ):
        self.config, self.watch, self.rank, self.loading = config, watch, rank, loading
        self.plan = plan_of(train_data, config, rank)
        on_seen = watch.on_seen if rank.is_first and resume is None else None
        self.learner = Learner(
            module, config, train_data.view, Criterion(config, train_data, rank), self.plan, rank, on_seen
        )
        self.best = Best(config.optim)
        self.history: list[EpochReport] = []
        self.epoch = self.step = 0  # where it stands: epochs done, and steps of the next one
        # of this epoch and rank: loss, right answers, clips
        self.sums = torch.zeros(3, dtype=torch.float64, device=rank.device)
        self.clock = Clock(rank.device)
        self.quarantine = Quarantine(len(train_data), config.data.max_unreadable_share)
        self.val_quarantine = Quarantine(len(val_data), config.data.max_unreadable_share)
        if resume is not None:
            self._restore(resume)
        self.feed = Feed(train_data, self.plan, rank, self.quarantine, loading, self.epoch, self.step)
        self.val_feed = self._fixed_feed(val_data, self.val_quarantine)

    def run(self) -> Trained:
        while self.epoch < self.plan.epochs and not self.best.is_over:
            self._begin_epoch()
            while self.step < self.plan.steps:
                self._take_step()
                self._keep_state_in_between()
            self._end_epoch()
        return Trained(self.learner.judged, self.history, self.best.epoch, self._test)

    def _begin_epoch(self) -> None:
        self.learner.enter(self.epoch)
        if self.step == 0:  # else the epoch goes on where it was cut
            seed_everything(self.config.seed, self.epoch, self.rank.number)
            self.sums.zero_()
            self.clock = Clock(self.rank.device)

    def _take_step(self) -> None:
        batches = self.feed.step(self.step, self.clock)
        self.sums += self.learner.step(batches, self.plan.batches_in(self.step))
        self.step += 1
        text = f"epoch {self.epoch + 1} of {self.plan.epochs}, step {self.step} of {self.plan.steps}"
        self.watch.on_step(self.learner.steps, self.plan.total_steps, text)

    def _keep_state_in_between(self) -> None:
        every = self.config.checkpoint_steps
        if every is not None and self.step % every == 0 and self.step < self.plan.steps:
            self._keep_state()

    def _end_epoch(self) -> None:
        report = self._report(*self.rank.total(self.sums).tolist())
        self.history.append(report)
        if self.best.take(report.epoch, report.val_loss, report.val_top1) and self.rank.is_first:
            self.watch.on_best(self.learner.judged, report)
        self.watch.on_epoch(report)  # before the state: who is killed in between tells it twice, not never
        self.epoch, self.step = self.epoch + 1, 0
        self._keep_state()

    def _report(self, loss: float, right: float, clips: float) -> EpochReport:
        """Validate, and say how the epoch went; its sums over all ranks are given."""
        if not math.isfinite(loss):
            raise VidclfError(
                f"the loss is {loss} after epoch {self.epoch + 1}: try a lower optim.learning_rate, or optim.precision bf16"
            )
        times = self.clock.read()
        began = time.perf_counter()
        judged = judge(self.learner.judged, self.val_feed, self.rank, self.learner.autocast)
        unreadable = self._gather_unreadable()
        rates = self.learner.learning_rates
        on_gpu = self.rank.device.type == "cuda"
        return EpochReport(
            epoch=self.epoch + 1,
            epochs=self.plan.epochs,
            train_loss=loss / max(clips, 1),
            train_top1=right / max(clips, 1),
            val_loss=judged.loss,
            val_top1=judged.top1,
            val_videos=judged.videos,
            learning_rate=max(rates.values()),
            clips_per_second=clips / times["seconds"],
            seconds=times["seconds"] + time.perf_counter() - began,
            data_share=times["waited"] / times["seconds"],
            trained_from_block=self.learner.first_block,
            learning_rates=rates,
            device_wait_share=times["device_waited"] / times["seconds"] if on_gpu else None,
            unreadable=len(unreadable),
        )

    def _test(self, module: nn.Module, data: ClipDataset) -> Judged:
        feed = self._fixed_feed(data, Quarantine(len(data), self.config.data.max_unreadable_share))
        return judge(module, feed, self.rank, self.learner.autocast)

    def _fixed_feed(self, data: ClipDataset, quarantine: Quarantine) -> FixedFeed:
        size = self.plan.per_worker * self.rank.world_size
        return FixedFeed(data, size, self.rank, quarantine, self.loading, self.config.fast_dev_run)

    def _gather_unreadable(self) -> dict[str, str]:
        """clip_id → reason, of all ranks: on the first one, where their budget is checked together.

        Raises:
            TooManyUnreadable: it is used up.
        """
        for quarantine in (self.quarantine, self.val_quarantine):
            for reasons in self.rank.gather(quarantine.reasons):
                quarantine.add(Failure(*pair) for pair in reasons.items())
        unreadable = self.quarantine.reasons | self.val_quarantine.reasons
        if unreadable and self.rank.is_first:
            self.watch.on_unreadable(unreadable)
        return unreadable

    def _keep_state(self) -> None:
        own = {
            "random": random_state(self.rank.device),
            "sums": self.sums.cpu(),
            "clock": self.clock.read(),
            "unreadable": self.quarantine.reasons,
        }
        of_ranks = self.rank.gather(own)
        if self.rank.is_first:
            state = {
                "epoch": self.epoch,
                "step": self.step,
                "total_steps": self.plan.total_steps,
                "learner": self.learner.state_dict(),
                "best": self.best.state_dict(),
                "history": [vars(report) for report in self.history],
                "ranks": of_ranks,
            }
            self.watch.on_state(self.learner.steps, state)

    def _restore(self, state: TrainState) -> None:
        if state["total_steps"] != self.plan.total_steps:
            raise ConfigError(
                f"the checkpoint to resume from is of a training of {state['total_steps']} steps; this one has"
                f" {self.plan.total_steps}: other data, epochs or batch_size"
            )
        self.learner.load_state_dict(state["learner"])
        self.best.load_state_dict(state["best"])
        self.history = [EpochReport(**report) for report in state["history"]]
        self.epoch, self.step = state["epoch"], state["step"]
        of_ranks = state["ranks"]
        if len(of_ranks) == self.rank.world_size:
            self._restore_own(of_ranks[self.rank.number])
        else:  # by other workers: the steps are the same, what each one draws is not
            seed_everything(self.config.seed, self.epoch, self.rank.number, self.step)
            if self.rank.is_first:
                self.sums = _added(own["sums"] for own in of_ranks).to(self.rank.device)
            self.clock = Clock(self.rank.device, **of_ranks[0]["clock"])

    def _restore_own(self, own: dict[str, Any]) -> None:
        restore_random_state(own["random"], self.rank.device)
        self.sums = own["sums"].to(self.rank.device)
        self.clock = Clock(self.rank.device, **own["clock"])
        self.quarantine.add(Failure(*pair) for pair in own["unreadable"].items())


def plan_of(data: ClipDataset, config: TrainConfig, rank: Rank = ALONE) -> EpochPlan:
    """What is trained on when; with classes that come equally often, where that is asked for.

    Raises:
        ConfigError: a batch is larger than the data, or cannot be shared among the workers.
    """
    probabilities = None
    if config.data.balance == "sampler":
        probabilities = sample_probabilities(data.label_ids, len(data.classes)).tolist()
    return EpochPlan.of(len(data), config, rank.number, rank.world_size, probabilities)


def _added(sums: Any) -> Tensor:
    return torch.stack(list(sums)).sum(dim=0)
