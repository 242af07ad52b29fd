"""From ``train/demo`` to an answer: the model is registered, and loaded where there is neither Ray nor Prefect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import VideoMaker
from tests.integration.test_pipeline import ROOT, vidclf
from tests.snapshotted import DATASET, snapshotted
from tests.vidclf.conftest import CLASSES

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ALONE = """
import json, sys

class Nothing:
    \"\"\"As if only the library were installed.\"\"\"
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "prefect", "tasks", "flows", "deployments"):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Nothing())
import vidclf

classifier = vidclf.load("models:/dancing@champion", device="cpu")
(said,) = classifier.predict([sys.argv[1]])
found = sorted({"ray", "prefect", "tasks", "flows"} & set(sys.modules))
print(json.dumps({"classes": classifier.classes, "label": said.label, "imported": found}))
"""


def test_what_train_demo_trained_is_registered_and_answers_alone(tmp_path: Path, make_video: VideoMaker) -> None:
    home = tmp_path / "home"
    snapshotted(home, {"train": 2, "val": 1})
    settings = [f"dataset={DATASET}", "data={num_frames: 2, crop_size: 32}", "optim={epochs: 1, batch_size: 2}"]
    trained = vidclf(home, "run", "train/demo", *(part for one in settings for part in ("--set", one)))
    (model,) = (home / "store/models").iterdir()
    assert str(model) in trained.stdout

    said = vidclf(home, "models", "register", str(model), "dancing", "--alias", "champion").stdout
    assert said.startswith("models:/dancing/1 @champion  cnn_lstm, snapshot ")
    (registered,) = json.loads(vidclf(home, "models", "registered", "--json").stdout)
    assert registered["checkpoint"] == str(model)

    environment = {**os.environ, "VIDCLF_HOME": str(home)}
    video = make_video()
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(video)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout)
    assert (answer["classes"], answer["imported"]) == (CLASSES, [])
    by_name = vidclf(home, "predict", str(video), "--model", "models:/dancing@champion", "--json").stdout
    by_folder = vidclf(home, "predict", str(video), "--model", str(model), "--json").stdout
    assert json.loads(by_name) == json.loads(by_folder)
    assert json.loads(by_name)[0]["predictions"][0]["labels"][0]["label"] == answer["label"]
