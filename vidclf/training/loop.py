"""The training loop, plain PyTorch. Whoever spreads it over workers hands in a wrapped model and a rank."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from vidclf.config import TrainConfig
from vidclf.data.dataset import ClipDataset, collate
from vidclf.data.quarantine import Quarantine
from vidclf.data.transforms import normalise
from vidclf.data.view import View
from vidclf.errors import ConfigError, VidclfError
from vidclf.evaluation.scoring import Progress, ignore_progress, view_probabilities
from vidclf.models import build
from vidclf.training.optim import build_optimizer, build_schedule
from vidclf.training.plan import EpochPlan

TrainState = dict[str, Any]  # model, optimizer, schedule, epoch, total_steps: tensors and plain values


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch. Numbers are over all ranks."""

    epoch: int  # finished ones, from 1
    epochs: int
    train_loss: float
    train_top1: float  # of the views that were trained on, while they were
    val_loss: float
    val_top1: float  # of videos: probabilities are averaged over their views
    val_videos: int
    learning_rate: float  # of the last step
    clips_per_second: float  # trained
    seconds: float  # training and validation
    data_share: float  # of the training's time, waiting for clips
    state: Callable[[], TrainState]  # copies all that a resume needs; to be called in on_epoch or not at all

    def metrics(self) -> dict[str, float]:
        """The numbers, for a tracker."""
        return {name: float(value) for name, value in vars(self).items() if name not in ("state", "epochs")}


def initial_model(config: TrainConfig, num_classes: int, view: View) -> nn.Module:
    """The model that a training starts from: the same for the same configuration.

    Raises:
        ConfigError: the model has no such weights, or they cannot be had.
    """
    seed_everything(config.seed)
    return build(config.model, num_classes, view.num_frames, view.crop_size, config.weights, config.optim.dropout)


def train(
    model: nn.Module,
    train_data: ClipDataset,
    val_data: ClipDataset,
    config: TrainConfig,
    on_epoch: Callable[[EpochReport], None],
    resume: TrainState | None = None,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world_size: int = 1,
    on_step: Progress = ignore_progress,
    loader_workers: int = 0,
) -> EpochReport | None:
    """Fit ``model`` in place.

    Args:
        model: on ``device``; may be wrapped in DistributedDataParallel by the caller.
        train_data: made with ``train=True``.
        val_data: made with ``train=False``.
        config: ``optim``, ``seed`` and ``fast_dev_run`` are used here.
        on_epoch: called after every epoch on every rank; ``report.state()`` is what to keep for a resume.
        resume: such a state; what follows is then bit for bit what would have followed (CPU, same number of threads).
        device: where to compute.
        rank: this worker, from 0.
        world_size: workers; with more than one, torch.distributed is initialised.
        on_step: told after every step: steps done, steps in all, text.
        loader_workers: processes that decode; 0: this one.

    Returns:
        The last epoch's report; None where ``resume`` had finished already.

    Raises:
        ConfigError: the batch is smaller than the number of workers, or ``resume`` is of another training.
        VidclfError: the loss is not a number any more.
    """
    plan = EpochPlan.of(len(train_data), config, rank, world_size)
    module = unwrap(model)
    optimizer = build_optimizer(module, config.optim)
    schedule = build_schedule(optimizer, config.optim, plan.total_steps)
    first = restore(resume, module, optimizer, schedule, plan) if resume else 0
    worker = _Worker(torch.device(device), rank, world_size, loader_workers, config.data.max_unreadable_share)
    report = None
    for epoch in range(first, plan.epochs):
        started = time.perf_counter()
        seed_everything(config.seed, epoch, rank)
        train_data.set_epoch(epoch)
        fitted = _fit(model, train_data, plan, epoch, optimizer, schedule, config, worker, on_step)
        judged = _validate(module, val_data, config, worker)
        if not math.isfinite(fitted.loss):
            raise VidclfError(f"the loss is {fitted.loss} after epoch {epoch + 1}: try a lower optim.learning_rate")
        report = EpochReport(
            epoch=epoch + 1,
            epochs=plan.epochs,
            train_loss=fitted.loss,
            train_top1=fitted.top1,
            val_loss=judged.loss,
            val_top1=judged.top1,
            val_videos=judged.n,
            learning_rate=fitted.learning_rate,
            clips_per_second=fitted.n / fitted.seconds,
            seconds=time.perf_counter() - started,
            data_share=fitted.waited / fitted.seconds,
            state=lambda finished=epoch + 1: _state(module, optimizer, schedule, finished, plan),  # type: ignore[misc]
        )
        on_epoch(report)
    return report


def seed_everything(seed: int, *key: int) -> None:
    """Set the global generators of torch and NumPy from a seed and what else must differ: an epoch, a rank."""
    word = int(np.random.SeedSequence((seed, *key)).generate_state(1)[0])
    torch.manual_seed(word)
    np.random.seed(word)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, or the model itself."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def restore(state: TrainState, module: nn.Module, optimizer: AdamW, schedule: OneCycleLR, plan: EpochPlan) -> int:
    """Put everything back where it was; the epochs done.

    Raises:
        ConfigError: the state is of a training of another length or another model.
    """
    if state["total_steps"] != plan.total_steps:
        raise ConfigError(
            f"the checkpoint to resume from is of a training of {state['total_steps']} steps; this one has"
            f" {plan.total_steps}: other data, epochs or batch_size"
        )
    try:
        module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the checkpoint to resume from is of another model: {str(error).splitlines()[0]}") from error
    schedule.load_state_dict(state["schedule"])
    return int(state["epoch"])


@dataclass(frozen=True)
class _Worker:
    device: torch.device
    rank: int
    world_size: int
    loader_workers: int
    max_unreadable_share: float

    def load(self, data: ClipDataset, batches: list[list[int]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(videos uint8, label ids, weights), on the device, batch after batch."""
        quarantine = Quarantine(len(data), self.max_unreadable_share)
        pinned = self.device.type == "cuda"
        loader = DataLoader(
            data, batch_sampler=batches, collate_fn=collate, num_workers=self.loader_workers, pin_memory=pinned
        )
        for batch in loader:
            quarantine.add(batch.failures)
            readable = batch.weights > 0
            if not readable.any():
                readable[:] = True  # all ranks take the step: it weighs nothing
            tensors = (batch.videos[readable], batch.label_ids[readable], batch.weights[readable])
            videos, label_ids, weights = (tensor.to(self.device, non_blocking=pinned) for tensor in tensors)
            yield videos, label_ids, weights

    def total(self, sums: Tensor) -> list[float]:
        """The sums over all ranks."""
        if self.world_size > 1:
            torch.distributed.all_reduce(sums)
        return [float(value) for value in sums.tolist()]


@dataclass(frozen=True)
class _Result:
    loss: float
    top1: float
    n: int
    learning_rate: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0


def _fit(
    model: nn.Module,
    data: ClipDataset,
    plan: EpochPlan,
    epoch: int,
    optimizer: AdamW,
    schedule: OneCycleLR,
    config: TrainConfig,
    worker: _Worker,
    on_step: Progress,
) -> _Result:
    model.train()
    sums = torch.zeros(3, device=worker.device)  # loss, right answers, clips
    started = waiting_since = time.perf_counter()
    waited = learning_rate = 0.0
    batches = plan.batches(epoch)
    for step, (videos, label_ids, weights) in enumerate(worker.load(data, batches), start=1):  # uint8 (B, C, T, H, W)
        waited += time.perf_counter() - waiting_since
        logits: Tensor = model(normalise(videos, data.view))
        losses = cross_entropy(logits, label_ids, label_smoothing=config.optim.label_smoothing, reduction="none")
        loss = (losses * weights).sum() / weights.sum().clamp_min(1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if config.optim.grad_clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), config.optim.grad_clip)
        optimizer.step()
        learning_rate = optimizer.param_groups[0]["lr"]
        schedule.step()
        sums += torch.stack([(losses.detach() * weights).sum(), _right(logits, label_ids, weights), weights.sum()])
        text = f"epoch {epoch + 1} of {plan.epochs}, step {step} of {len(batches)}"
        on_step(epoch * len(batches) + step, plan.total_steps, text)
        waiting_since = time.perf_counter()
    loss_sum, right, n = worker.total(sums)
    seconds = time.perf_counter() - started
    return _Result(loss_sum / n, right / n, int(n), learning_rate, seconds, waited)


@torch.inference_mode()
def _validate(module: nn.Module, data: ClipDataset, config: TrainConfig, worker: _Worker) -> _Result:
    """The unwrapped module: ranks may have unequal numbers of videos, and nothing waits for another inside forward."""
    if worker.world_size > 1:
        for buffer in module.buffers():  # running means are each rank's own; judge what rank 0 will keep
            torch.distributed.broadcast(buffer, src=0)
    module.eval()
    sums = torch.zeros(3, device=worker.device)
    mine = list(range(worker.rank, len(data), worker.world_size))
    size = max(1, config.optim.batch_size // worker.world_size)
    batches = [mine[start : start + size] for start in range(0, len(mine), size)]
    for videos, label_ids, weights in worker.load(data, batches[:1] if config.fast_dev_run else batches):
        views = view_probabilities(module, videos, data.view)  # (B, V, num_classes)
        log_probabilities = views.mean(dim=1).clamp_min(torch.finfo(views.dtype).tiny).log()
        loss = (cross_entropy(log_probabilities, label_ids, reduction="none") * weights).sum()
        sums += torch.stack([loss, _right(log_probabilities, label_ids, weights), weights.sum()])
    loss_sum, right, n = worker.total(sums)
    return _Result(loss_sum / n, right / n, int(n))


def _right(logits: Tensor, label_ids: Tensor, weights: Tensor) -> Tensor:
    return ((logits.argmax(dim=1) == label_ids) * weights).sum()


def _state(module: nn.Module, optimizer: AdamW, schedule: OneCycleLR, epoch: int, plan: EpochPlan) -> TrainState:
    return {
        "model": {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()},
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "schedule": copy.deepcopy(schedule.state_dict()),
        "epoch": epoch,
        "total_steps": plan.total_steps,
    }
