"""The image, which cannot be built here: what its Dockerfile names is there, and agrees with the project."""

from __future__ import annotations

import os
import re

from tests.deployments.infrastructure import FOLDER, ROOT, constraints, instructions, project
from vidclf.home import QUIET_LIBRARIES


def given(name: str) -> list[list[str]]:
    """The words of every instruction of this name."""
    return [words for instruction, words in instructions() if instruction == name]


def copied() -> list[str]:
    """What is copied from the project's folder."""
    return [source for words in given("COPY") if not words[0].startswith("--from") for source in words[:-1]]


def environment() -> dict[str, str]:
    """What the last stage sets."""
    start = max(number for number, (name, _) in enumerate(instructions()) if name == "FROM")
    words = [word for name, words in instructions()[start:] if name == "ENV" for word in words]
    return dict(word.split("=", 1) for word in words)


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in let_in, f".dockerignore keeps {source} out"


def test_every_package_of_the_project_is_in_the_image() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= set(copied())


def test_python_is_the_version_that_is_tested_and_pinned_to_the_patch() -> None:
    (argument,) = [words[0] for words in given("ARG") if words[0].startswith("PYTHON=")]
    version = argument.removeprefix("PYTHON=")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert tuple(map(int, version.split(".")[:2])) >= (3, 11)
    assert project()["requires-python"] == ">=3.11"
    assert all(words[0].startswith("python:${PYTHON}-slim") for words in given("FROM"))


def test_packages_have_the_versions_of_constraints() -> None:
    installs = [part for words in given("RUN") for part in re.split(r";|&&", " ".join(words)) if "pip install" in part]
    assert len(installs) == 3
    assert all("--constraint constraints.txt" in part or "--no-deps" in part for part in installs)
    assert "cluster" in project()["optional-dependencies"]


def test_every_package_that_only_the_cluster_needs_is_pinned() -> None:
    pinned = {name.lower() for name in constraints()}
    for requirement in project()["optional-dependencies"]["cluster"]:
        assert re.split(r"[<>=]", requirement)[0] in pinned


def test_the_index_of_packages_is_named_by_who_builds() -> None:
    text = (FOLDER / "image/Dockerfile").read_text()
    assert ["TORCH_INDEX_URL"] in given("ARG")  # without a default
    assert "://" not in text


def test_it_runs_as_nobody_in_particular_and_holds_no_secret() -> None:
    assert given("USER") == [["1000"]]
    names = [word.split("=")[0] for kind in ("ARG", "ENV") for words in given(kind) for word in words]
    assert not [name for name in names if re.search("KEY|SECRET|PASSWORD|TOKEN|CREDENTIAL", name)]


def test_nothing_in_it_reports_to_anybody() -> None:
    assert QUIET_LIBRARIES.items() <= environment().items()


def test_what_it_runs_by_default_is_an_entry_point() -> None:
    ((command, *_),) = given("CMD")
    assert command.strip('[",') in project()["scripts"]


def test_join_ray_can_be_executed() -> None:
    assert os.access(FOLDER / "image/join-ray", os.X_OK)
