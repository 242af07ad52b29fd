"""Which part of a model learns when. A stage begins with an epoch and holds until the next one."""

from __future__ import annotations

from dataclasses import dataclass

from vidclf.config import OptimConfig
from vidclf.errors import ConfigError


@dataclass(frozen=True)
class Stage:
    """From ``epoch`` on (counted from 0) the blocks from ``first_block`` on learn; what joins them has ``lr_factor``."""

    epoch: int
    first_block: int
    lr_factor: float = 1.0


def stages(config: OptimConfig, num_blocks: int) -> list[Stage]:
    """The stages of a training, the first one at epoch 0.

    Raises:
        ConfigError: a block is named that the model has not.
    """
    begin = {"none": 0, "backbone": num_blocks - 1}.get(str(config.freeze))
    if begin is None:
        begin = int(config.freeze)
    if begin >= num_blocks:
        raise ConfigError(
            f"optim.freeze is {config.freeze}, but the model has {num_blocks} blocks, of which the last must learn:"
            f" at most {num_blocks - 1}"
        )
    found = [Stage(0, begin)]
    for moment in config.unfreezing():
        if moment.from_block >= found[-1].first_block:
            raise ConfigError(
                f"unfreezing after epoch {moment.epoch} from block {moment.from_block} on changes nothing: the blocks from"
                f" {found[-1].first_block} on learn already"
            )
        found.append(Stage(moment.epoch, moment.from_block, moment.lr_factor))
    return found


def stage_number(found: list[Stage], epoch: int) -> int:
    """Which of the stages holds in ``epoch``."""
    return max(number for number, stage in enumerate(found) if stage.epoch <= epoch)
