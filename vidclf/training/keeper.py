"""What a training leaves on the store: states to go on from, its best epoch, and the finished model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from vidclf.models import checkpoint
from vidclf.models.checkpoint import ModelCard
from vidclf.storage import Store
from vidclf.training.reports import EpochReport
from vidclf.training.state import States
from vidclf.training.work import TrainingWork


@dataclass(frozen=True)
class Keeper:
    """Of one training."""

    work: TrainingWork

    @property
    def states(self) -> States:
        return States(Store(self.work.store), self.work.states_path)

    def keep_best(self, module: nn.Module, report: EpochReport) -> None:
        """The best epoch's model so far, as a checkpoint. Written anew each time: a resume may overwrite it."""
        self._save(self._best_path, module, report.metrics())

    def read_best(self) -> tuple[nn.Module, dict[str, float]]:
        """That model, on the CPU, and its epoch's numbers."""
        module, card = checkpoint.load(f"{self.work.store}/{self._best_path}")
        return module, card.results

    def publish(
        self, last: nn.Module, last_results: Mapping[str, float], results: Mapping[str, float], best: nn.Module | None
    ) -> None:
        """Write the finished model; it exists once this is done.

        Beside it, in its folder, lie ``best`` and ``last``: the model of the best epoch and that of the last one.

        Args:
            results: of the model that is published, with what was found out about it later.
            best: publish this one; None: the last.
        """
        store = Store(self.work.store)
        self._save(f"{self.work.model_path}/last", last, last_results)
        for name in (checkpoint.TENSORS, checkpoint.CARD):
            store.write_bytes(f"{self.work.model_path}/best/{name}", store.read_bytes(f"{self._best_path}/{name}"))
        self._save(self.work.model_path, last if best is None else best, results)

    def forget(self) -> None:
        """Remove what was needed to go on, once the model is there."""
        self.states.clear()
        Store(self.work.store).delete_folder(self._best_path)

    @property
    def _best_path(self) -> str:
        return f"{self.work.training_path}/best"

    def _save(self, path: str, module: nn.Module, results: Mapping[str, float]) -> None:
        work = self.work
        card = ModelCard(
            model=work.config.model,
            classes=work.classes,
            view=work.view,
            head_hidden=work.config.head_hidden,
            weights=work.config.weights,
            snapshot_id=work.snapshot_id,
            train_config=work.config.model_dump(mode="json"),
            results=dict(results),
        )
        checkpoint.save(Store(work.store), path, module, card)
