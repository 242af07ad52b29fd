"""A training that was cut short goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.vidclf.conftest import build_dataset
from tests.vidclf.tiny_training import Kept, Make, assert_same_weights, config, datasets, tiny_model
from vidclf.config import TrainConfig
from vidclf.errors import ConfigError
from vidclf.models import build
from vidclf.storage import Store
from vidclf.training.loop import train
from vidclf.training.randomness import random_state, restore_random_state, seed_everything
from vidclf.training.state import KEPT, States

#: Everything at once that a resume can get wrong.
EVERYTHING = dict(
    epochs=3, batch_size=2, accumulation_steps=2, ema_decay=0.7, freeze="backbone", unfreeze_epoch=1,
    precision="bf16", patience=5, layer_decay=0.8, top={"checkpoint_steps": 1},
)  # fmt: skip


@pytest.mark.parametrize(
    "settings", [dict(top={"checkpoint_steps": 1}), dict(optimizer="sgd", top={"checkpoint_steps": 2}), EVERYTHING]
)
def test_a_training_resumed_at_any_step_ends_with_the_same_weights(
    make_dataset: Make, tmp_path: Path, settings: dict[str, object]
) -> None:
    made: TrainConfig = config(**dict(settings))  # type: ignore[arg-type]
    tiny = make_dataset({"train": 5, "val": 2}, variants=1)
    kept = Kept(tmp_path / "kept")
    undisturbed = tiny_model()
    last = train(undisturbed, *datasets(tiny), made, kept.watch())
    in_between = [number for number in range(len(kept.steps)) if kept[number]["step"]]
    assert in_between
    for number in (*in_between[1:3], in_between[-1], len(kept.steps) - 1):
        torch.rand(17 + number)  # another process stands elsewhere in its random numbers
        resumed = tiny_model(seed=99)
        final = train(resumed, *datasets(tiny), made, resume=kept[number])
        numbers = [{**vars(report), "seconds": 0, "clips_per_second": 0, "data_share": 0} for report in final.history]
        assert numbers == [
            {**vars(report), "seconds": 0, "clips_per_second": 0, "data_share": 0} for report in last.history
        ]
        assert_same_weights(undisturbed, resumed)
        assert_same_weights(last.module, final.module)


def test_a_state_of_another_training_is_refused(make_dataset: Make, tmp_path: Path) -> None:
    tiny = make_dataset({"train": 4, "val": 1})
    kept = Kept(tmp_path / "kept")
    train(tiny_model(), *datasets(tiny), config(), kept.watch())
    with pytest.raises(ConfigError, match="of a training of 6 steps; this one has 10"):
        train(tiny_model(), *datasets(tiny), config(epochs=5), resume=kept[0])
    with pytest.raises(ConfigError, match="of another model"):
        train(build("frame_cnn", 2), *datasets(tiny), config(), resume=kept[0])


def test_states_are_whole_or_not_there_and_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = States(Store(tmp_path), "states")
    value = {"a": torch.arange(3), "b": [1.5, None, {"c": torch.ones(2, 2)}], 4: "four"}
    assert states.latest() is None
    for step in range(1, 5):
        states.save(step, {**value, "step": step})
    assert len(list((tmp_path / "states").glob("*/state.json"))) == len(list((tmp_path / "states").iterdir())) == KEPT

    def killed(self: Store, path: str, data: bytes) -> None:
        if path.endswith(".json"):
            raise KeyboardInterrupt
        Path(self.full(path)).parent.mkdir(parents=True, exist_ok=True)
        Path(self.full(path)).write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            states.save(5, {**value, "step": 5})
    latest = states.latest()
    assert latest is not None
    assert latest["step"] == 4
    assert torch.equal(latest["b"][2]["c"], torch.ones(2, 2))


def test_a_state_describes_itself(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    States(Store(tmp_path), "states").save(7, {"optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "lr": 0.1}})
    folder = tmp_path / "states/step-000000007"
    described = json.loads((folder / "state.json").read_text())
    assert described["schema_version"] == 1
    assert described["state"]["optimizer"]["lr"] == 0.1
    assert list(load_file(folder / "state.safetensors")) == ["optimizer/state/0/exp_avg"]
    described["schema_version"] = 9
    (folder / "state.json").write_text(json.dumps(described))
    with pytest.raises(ConfigError, match="schema version 9; this vidclf reads 1: remove"):
        States(Store(tmp_path), "states").latest()


def test_states_are_kept_on_s3_too(bucket: str) -> None:
    states = States(Store(bucket), "training/x/states")
    for step in (1, 2, 3):
        states.save(step, {"weights": torch.full((2,), float(step))})
    latest = states.latest()
    assert latest is not None
    assert torch.equal(latest["weights"], torch.full((2,), 3.0))
    assert len(Store(bucket).files_below("training/x/states", "state.json")) == KEPT


def test_all_generators_are_put_back() -> None:
    import random

    import numpy as np

    def draw() -> list[float]:
        return [float(torch.rand(1)), float(np.random.rand()), random.random(), float(np.random.randn())]

    seed_everything(5)
    draw()
    state = random_state(torch.device("cpu"))
    expected = [draw(), draw()]
    restore_random_state(state, torch.device("cpu"))
    assert [draw(), draw()] == expected


SETTINGS = dict(epochs=3, batch_size=2, ema_decay=0.9, top={"checkpoint_steps": 2})
SCRIPT = """
import sys
from pathlib import Path
import torch
from tests.vidclf.conftest import TinyDataset, CLASSES
from tests.vidclf.test_training_resume import SETTINGS
from tests.vidclf.tiny_training import config, datasets, tiny_model
from vidclf.clips import MANIFEST
from vidclf.storage import Store
from vidclf.training.loop import Watch, train
from vidclf.training.state import States

torch.set_num_threads(1)
folder, stop_at = Path(sys.argv[1]), int(sys.argv[2])
manifest = Store(folder).read_table("manifest.parquet").cast(MANIFEST)
states = States(Store(folder), "states")

def on_step(done, total, text):
    print(text, flush=True)
    if done == stop_at:
        sys.stdin.read()  # until killed

model = tiny_model()
resume = states.latest()
print("resumed at", resume["epoch"], resume["step"]) if resume else print("new")
data = datasets(TinyDataset(Store(folder / "dataset"), manifest, CLASSES))
train(model, *data, config(**SETTINGS), Watch(on_step=on_step, on_state=states.save), resume)
torch.save(model.state_dict(), folder / "weights.pt")
"""


def run_script(folder: Path, stop_at: int = -1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(stop_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.thorough
def test_a_training_killed_in_mid_epoch_and_started_again_ends_with_the_same_weights(tmp_path: Path) -> None:
    tiny = build_dataset(tmp_path, {"train": 4, "val": 1}, variants=1)
    Store(tmp_path).write_table("manifest.parquet", tiny.manifest)
    killed = run_script(tmp_path, stop_at=13)  # the fifth of eight steps in the second epoch
    assert killed.stdout is not None
    said = iter(killed.stdout)
    while (line := next(said).strip()) != "epoch 2 of 3, step 5 of 8":
        assert line
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    again = run_script(tmp_path)
    lines, _ = again.communicate()
    assert lines.splitlines()[:2] == ["resumed at 1 4", "epoch 2 of 3, step 5 of 8"]
    assert again.returncode == 0
    undisturbed = tiny_model()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(undisturbed, *datasets(tiny), config(**SETTINGS))
    torch.set_num_threads(threads)
    ended = torch.load(tmp_path / "weights.pt")
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(tensor, ended[name]), name
