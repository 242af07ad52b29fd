"""README and docs do what they say: their commands, queries and programs are run in a copy of the project.

In the copy the deployments are small: few clips of the demo, one epoch. The commands are those of the pages, in order.
"""

from __future__ import annotations

import json
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

from tests.conftest import VideoMaker
from tests.documented import PAGES, ROOT, SHELL, Block, all_blocks, blocks, words_of
from tests.integration.test_pipeline import left_behind

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]

#: Commands and programs that are not run here, by a pattern that is found in them, and why. The fast tests check that they
#: could be: see tests/test_docs.py.
NOT_RUN = {
    r"^make (demo|test|test-fast|test-all|lint|bench)$": "installs everything; what it runs has tests of its own",
    r"^(make|vidclf) (up|down|status)$": "ports that may be taken; test_stack.py gives it others",
    r"^prefect ": "needs the stack; test_deployments.py runs a deployment on it",
    r"^\. \.venv": "the packages are at hand already",
    r"^(curl|aws) ": "needs the network",
    r"kinetics400": "needs weights from the network",
    r"^vidclf run (train/folder|compare/hmdb51)": "needs weights from the network, or minutes; test_training.py trains",
    r"^vidclf run (ingest|train|compare|evaluate)/kinetics-(?!.*--dry-run)": "needs the network, or a GPU",
    r"^vidclf dataset show .*/kinetics-dancing$": "of a data set that needs the network",
    r"^export ": "needs a cluster",
    r"^(docker|kubectl|ray) ": "needs Docker, Kubernetes or machines",
    r"^cp deployments/": "goes before docker",
    r"^vidclf run retrain/.* force=true": "minutes; test_retraining.py judges a challenger",
    r"^vidclf models rollback": "needs a promotion; test_retraining_promotion.py goes back",
}
QUERY = """
import sys, duckdb
rows = duckdb.connect().execute(sys.stdin.read()).fetchall()
print(*rows, sep="\\n")
sys.exit(not rows)
"""
BUCKET = "my-bucket"
UCF = "data/ucf_sports_actions/ucf_action"
UCF_CLASSES = (
    "Diving-Side", "Golf-Swing-Back", "Golf-Swing-Front", "Golf-Swing-Side", "Kicking-Front", "Kicking-Side", "Lifting",
    "Riding-Horse", "Run-Side", "SkateBoarding-Front", "Swing-Bench", "Swing-SideAngle", "Walk-Front",
)  # fmt: skip
VIDEOS = {
    **{f"videos/{label}/{{number}}.mp4": 4 for label in ("kicking", "running")},
    **{f"{UCF}/{label}/{{number:03d}}/a.avi": 3 for label in UCF_CLASSES},
    **{f"data/hmdb51/{label}/{{number}}.avi": 5 for label in ("cartwheel", "ride_bike")},
}
LISTS = {
    "data/hmdb51_splits/cartwheel_test_split2.txt": [f"{number}.avi {1 + number % 2}" for number in range(5)],
    "data/hmdb51_splits/ride_bike_test_split2.txt": [f"{number}.avi {1 + number % 2}" for number in range(5)],
    "annotations/kinetics700_2020/train.csv": [
        "label,youtube_id,time_start,time_end,split", "tap dancing,---aaaaaaa1,1,11,train", "yoga,---aaaaaaa2,1,11,train"
    ],
    "annotations/kinetics700_2020/val.csv": [
        "label,youtube_id,time_start,time_end,split", "tap dancing,---aaaaaaa3,2,12,validate"
    ],
}  # fmt: skip


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
    """Few clips of the demo, and trainings of one epoch."""
    content = yaml.safe_load(path.read_text())
    for deployment in content["deployments"]:
        parameters: dict[str, Any] = deployment["parameters"]
        flow = deployment["entrypoint"].rpartition(".")[2]
        ingest = parameters if flow == "ingest" else parameters.get("ingest", {})
        if ingest and parameters["dataset"] == "dancing-demo":
            ingest["annotations"]["per_class"] = {"train": 8, "val": 4, "test": 6}
            ingest["augment"]["target_per_class"] = 10
            ingest["execution"]["num_shards"] = 2
        trainings = {"train": [parameters], "retrain": [parameters.get("training")]}.get(flow, [])
        for training in [*trainings, *parameters.get("approaches", {}).values()]:
            training["optim"] = {**training.get("optim", {}), "epochs": 1}
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
def inputs(project: Path, make_video: VideoMaker, tmp_path: Path, bucket: str) -> None:
    """What the pages want to be there: videos and lists in their folders, and a bucket."""
    import boto3

    boto3.client("s3").create_bucket(Bucket=BUCKET)
    for label, numbers in VIDEOS.items():
        for number in range(numbers):
            name = label.format(number=number)
            if not (project / name).exists():
                made = make_video(name, num_frames=30, rate=25, codec="mpeg4" if name.endswith(".avi") else "libx264")
                (project / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(made, project / name)
    for name, rows in LISTS.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("\n".join(rows) + "\n")


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


def why_not(text: str) -> str | None:
    """The reason why a command or program is not run."""
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, text)), None)


def do(block: Block, project: Path) -> None:
    """Run what a block says: write the file that it is, ask the query, run the program or the commands."""
    if block.file:
        (project / block.file).write_text(block.text)
    elif block.language == "sql":
        run([sys.executable, "-c", QUERY], project, block.text)
    elif block.language == "python" and not why_not(block.text):
        run([sys.executable, "-c", block.text], project)
    elif block.language in SHELL:
        for command in block.commands:
            if not why_not(" ".join(words_of(command))):
                run(["bash", "-c", command], project)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_does_what_it_says(page: Path, project: Path, inputs: None) -> None:
    for block in blocks(page):
        do(block, project)


def test_every_reason_is_needed_by_something() -> None:
    texts = [block.text for block in all_blocks("python")]
    texts += [" ".join(words_of(command)) for block in all_blocks(*SHELL) for command in block.commands]
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, text) for text in texts)] == []


def test_a_block_that_fails_is_found(project: Path) -> None:
    for language, text in (
        ("console", "$ vidclf dataset show nowhere\n"),
        ("python", "1 / 0"),
        ("sql", "SELECT 1 WHERE false"),
    ):
        with pytest.raises(AssertionError):
            do(Block("page", 1, language, text), project)


def test_the_notebook_runs(project: Path) -> None:
    command = [
        "jupyter",
        "execute",
        "docs/explore.ipynb",
        "--output",
        "executed.ipynb",
        "--KernelManager.transport=ipc",
    ]
    run(command, project)
    cells = json.loads((project / "docs/executed.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 6
    said = "".join(line for output in outputs for line in output.get("text", []))
    assert "72 annotations" in said
    assert re.search(r"\d+ of \d+ right", said)
