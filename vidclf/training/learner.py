"""A model with everything that changes while it learns, and how it takes one step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel

from vidclf.config import TrainConfig
from vidclf.data.transforms import normalise
from vidclf.data.view import View
from vidclf.errors import ConfigError
from vidclf.models.blocks import blocks
from vidclf.models.freezing import freeze_below, set_training_mode
from vidclf.training.ema import MovingAverage
from vidclf.training.feed import Clips
from vidclf.training.freezing import stage_number, stages
from vidclf.training.loss import Criterion
from vidclf.training.optim import build_optimizer, learning_rates, parameter_groups
from vidclf.training.plan import EpochPlan
from vidclf.training.rank import Rank
from vidclf.training.schedule import Schedule

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


#: Gets the first batch as it enters the model: pictures uint8 (B, C, T, H, W), and label ids (B,).
OnInput = Callable[[Tensor, Tensor], None]


class Learner:
    """Changes ``module`` in place.

    Raises:
        ConfigError: the configuration names a block that the model has not.
    """

    def __init__(
        self,
        module: nn.Module,
        config: TrainConfig,
        view: View,
        criterion: Criterion,
        plan: EpochPlan,
        rank: Rank,
        on_input: OnInput | None = None,
    ):
        self.module = module
        self._on_input = on_input
        self.steps = self.batches = 0  # so far; steps are the optimiser's
        self._per_worker = plan.per_worker
        self._config, self._view, self._criterion, self._rank = config, view, criterion, rank
        self._blocks = blocks(module)
        self._stages = stages(config.optim, len(self._blocks))
        self._stage = 0
        if config.channels_last:
            _hold_channels_last(module)
        freeze_below(module, self._stages[0].first_block)
        self.optimizer = build_optimizer(self._blocks, self._stages[0].first_block, config.optim, rank.device)
        self._schedule = Schedule(config.optim, plan.steps, plan.total_steps)
        self._scaler = GradScaler(rank.device.type, enabled=config.optim.precision == "fp16")
        decay = config.optim.ema_decay
        self._average = MovingAverage(module, decay) if decay is not None else None
        if config.compile:
            module.compile()  # in place: the names of its tensors stay
        self._joined = rank.joined(module)

    @property
    def judged(self) -> nn.Module:
        """What is validated and kept: the average of the weights where there is one."""
        return self._average.module if self._average else self.module

    @property
    def learning_rates(self) -> dict[str, float]:
        """Group → the rate of the last step."""
        return learning_rates(self.optimizer)

    @property
    def first_block(self) -> int:
        """The first block that learns."""
        return self._stages[self._stage].first_block

    def enter(self, epoch: int) -> None:
        """Begin, or go on with, an epoch: what learns from now on does so; the rest is in eval mode."""
        self._thaw(stage_number(self._stages, epoch))
        set_training_mode(self.module)

    def step(self, batches: Iterable[Clips], num_batches: int) -> Tensor:
        """One step on ``num_batches`` batches.

        Returns:
            float64 (3,): this rank's sums of loss, right answers and clips.
        """
        self._schedule.set_rates(self.optimizer, self.steps)
        sums = torch.zeros(3, dtype=torch.float64, device=self._rank.device)
        for number, clips in enumerate(batches, start=1):
            with self._averaging_gradients(number == num_batches):
                sums += self._backward(clips, num_batches)
        if self._config.optim.grad_clip is not None:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._learning(), self._config.optim.grad_clip)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self._average:
            self._average.follow(self.module)
        self.steps += 1
        return sums

    def state_dict(self) -> dict[str, Any]:
        """All of it, not copied."""
        return {
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "steps": self.steps,
            "batches": self.batches,
            "stage": self._stage,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state.

        Raises:
            ConfigError: it is of another model.
        """
        self._thaw(state["stage"])
        try:
            self.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self._average:
                self._average.load_state_dict(state["average"])
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"the checkpoint to resume from is of another model: {str(error).splitlines()[0]}"
            ) from error
        self._scaler.load_state_dict(state["scaler"])
        self.steps, self.batches = state["steps"], state["batches"]

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """In which the model computes in the precision that was asked for."""
        dtype = DTYPES.get(self._config.optim.precision)
        with torch.autocast(self._rank.device.type, dtype, enabled=dtype is not None):
            yield

    def _backward(self, clips: Clips, num_batches: int) -> Tensor:
        videos = normalise(clips.videos, self._view)
        videos, targets = self._criterion.mixed(videos, clips.label_ids, clips.weights, self.batches)
        self.batches += 1
        if self._on_input is not None:
            self._on_input(pictures(videos, self._view), clips.label_ids)
            self._on_input = None
        if self._config.channels_last:
            videos = videos.contiguous(memory_format=torch.channels_last_3d)
        with self.autocast():
            logits: Tensor = self._joined(videos)
        losses = self._criterion(logits.float(), targets) * clips.weights  # (B,)
        self._scaler.scale(losses.sum() / (self._per_worker * num_batches)).backward()  # unreadable ones as if at rest
        right = (logits.argmax(dim=1) == clips.label_ids) * clips.weights
        return torch.stack([losses.detach().sum(), right.sum(), clips.weights.sum()]).double()

    def _averaging_gradients(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Ranks exchange gradients once per step, with its last batch."""
        if isinstance(self._joined, DistributedDataParallel) and not last:
            return self._joined.no_sync()
        return contextlib.nullcontext()

    def _learning(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def _thaw(self, stage: int) -> None:
        """Go to a later stage: the blocks that join get groups, and so rates, of their own."""
        if stage <= self._stage:
            return
        for number in range(self._stage + 1, stage + 1):
            before, now = self._stages[number - 1], self._stages[number]
            for group in parameter_groups(
                self._blocks, now.first_block, before.first_block, self._config.optim, now.lr_factor
            ):
                self.optimizer.add_param_group(group)
        self._stage = stage
        freeze_below(self.module, self._stages[stage].first_block)
        self._joined = self._rank.joined(self.module)


def pictures(videos: Tensor, view: View) -> Tensor:
    """What ``normalise`` made of pictures, as pictures again: uint8 of the same shape."""
    mean, std = (torch.tensor(values, device=videos.device).view(1, -1, 1, 1, 1) for values in (view.mean, view.std))
    return ((videos.detach() * std + mean) * 255).round().clamp(0, 255).byte()


def _hold_channels_last(module: nn.Module) -> None:
    """2d and 3d kernels in the layout in which a GPU's tensor cores take them."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in module.parameters():
        if parameter.ndim in layouts:
            parameter.data = parameter.data.contiguous(memory_format=layouts[parameter.ndim])
