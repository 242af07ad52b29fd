"""README and docs do what they say: their commands, queries and programs are run in a copy of the project.

In the copy the deployments are small: few clips of the demo, one epoch, no weights from the network. The commands are
those of the pages, in their order.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import number_bars
from tests.documented import PAGES, ROOT, SHELL, Block, all_blocks, blocks
from tests.integration.test_pipeline import left_behind

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]

#: Beginnings of commands that are not run here, and why. The fast tests check that they could be: see tests/test_docs.py.
NOT_RUN = {
    r"make demo": "eight minutes, and installs everything; test_demo.py runs what it runs",
    r"make (test|lint|bench)": "installs everything, and would run this test again",
    r"make (up|down|status)": "installs everything; test_stack.py runs what it runs",
    r"vidclf (up|down|status)": "ports that may be taken; test_stack.py gives it others",
    r"prefect ": "needs the stack; test_deployments.py runs a deployment on it",
    r"\. \.venv": "the packages are at hand already",
    r"pip install": "needs the network",
    r"curl ": "needs the network",
    r"docker ": "needs Docker",
    r"ray ": "needs machines",
    r"jupyter ": "test_the_notebook_runs does it",
}
QUERY = """
import sys, duckdb
rows = duckdb.connect().execute(sys.stdin.read()).fetchall()
print(*rows, sep="\\n")
sys.exit(not rows)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project's files, with the small demo ingested and one model trained on it."""
    folder = tmp_path_factory.mktemp("docs") / "project"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    make_small(folder / "prefect.yaml")
    for command in ("vidclf run ingest/demo", "vidclf run train/demo"):
        run(["bash", "-c", command], folder)
    yield folder
    assert not left_behind(folder / ".vidclf")


def make_small(path: Path) -> None:
    """Few clips of the demo, and trainings of one epoch that need nothing from the network."""
    content = yaml.safe_load(path.read_text())
    for deployment in content["deployments"]:
        parameters: dict[str, Any] = deployment["parameters"]
        if parameters["dataset"] == "dancing-demo" and "annotations" in parameters:
            parameters["annotations"]["per_class"] = {"train": 8, "val": 4, "test": 6}
            parameters["augment"]["target_per_class"] = 10
            parameters["execution"]["num_shards"] = 2
        trainings = [parameters, *parameters.get("approaches", {}).values()]
        for training in trainings:
            if training.get("weights") in ("imagenet", "kinetics400"):
                training["weights"] = "none"
            if "model" in training:
                training["optim"] = {**training.get("optim", {}), "epochs": 1}
    path.write_text(yaml.safe_dump(content))


def run(command: list[str], folder: Path, text: str | None = None) -> str:
    """Run something in the copy, with its own packages and its own home, and return what it printed."""
    environment = {
        **os.environ,
        "VIDCLF_HOME": str(folder / ".vidclf"),
        "PYTHONPATH": str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, input=text, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout
