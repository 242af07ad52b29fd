"""README and docs name what there is: commands, options, deployments, settings, files and names of Python.

Nothing is run here but parsers; tests/integration/test_docs.py runs it.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml
from pydantic import BaseModel

from flows.catalogue import CONFIGURATIONS, find_job, read_deployments
from tests.documented import PAGES, ROOT, SHELL, Block, all_blocks, prose, spans, words_of
from vidclf import models
from vidclf.cli import main
from vidclf.clips import FRAMES, LEDGER, MANIFEST
from vidclf.config import parse
from vidclf.errors import ConfigError
from vidclf.evaluation import scoring
from vidclf.predict import dataset

#: Programs that come from elsewhere: what they understand is not for us to check.
OTHERS = {".", "aws", "cp", "curl", "docker", "export", "jupyter", "kubectl", "ls", "mkdir", "ray", "ssh", "tar"}
NOTEBOOK = ROOT / "docs" / "explore.ipynb"


@pytest.fixture(autouse=True)
def in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the deployments and the configuration files that the pages show; the model that they show is known."""
    (tmp_path / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text())
    for block in all_blocks("yaml"):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    models.load_all()  # into the registry that stays
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))
    for block in all_blocks("python"):
        if str(block.file).startswith("vidclf/models/families/"):
            exec(compile(block.text, block.where, "exec"), {"__name__": "shown"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(command: str) -> None:
    """Whether a command could be run.

    Raises:
        AssertionError, click.UsageError, VidclfError: it says something that there is not.
    """
    words = words_of(command)
    if not words:  # only variables are set
        return
    program, *rest = words
    if program in CHECKS:
        CHECKS[program](rest)
    else:
        assert program in OTHERS, f"{program!r} is no program that the documentation is known to use"


def check_vidclf(words: list[str]) -> None:
    command: click.Command = main
    context = click.Context(main, info_name="vidclf")
    while isinstance(command, click.Group) and words:
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    try:
        asked = command.make_context(command.name, words, parent=context).params
    except click.exceptions.Exit:  # --help
        return
    if command.name == "run":
        retry = [f"execution.retry=[{', '.join(asked['retry'])}]"] if asked["retry"] else []
        find_job(asked["deployment"], asked["config_file"], (*asked["settings"], *retry))


def check_prefect(words: list[str]) -> None:
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    place = next((number for number, word in enumerate(words) if word.startswith("-") or "/" in word), len(words))
    known = help_of(tuple(words[:place]))
    assert [option for option in options if option not in known] == []
    if words[:2] == ["deployment", "run"]:
        deployments = read_deployments(Path("prefect.yaml"))
        assert words[2] in deployments
        flow, parameters = deployments[words[2]]
        given = [value for option, value in pairwise(words) if option in ("-p", "--param")]
        for name, _, value in (one.partition("=") for one in given):
            parameters[name] = yaml.safe_load(value)
        parse(CONFIGURATIONS[flow], parameters)


@lru_cache
def help_of(words: tuple[str, ...]) -> str:
    """What `prefect WORDS --help` prints."""
    command = [sys.executable, "-m", "prefect", *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split())
    assert {word for word in words if "=" not in word} <= targets


def check_pip(words: list[str]) -> None:
    assert words[0] == "install"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, extra in re.findall(r"([\w.-]+)\[(\w+)\]", " ".join(words)):
        assert name in ("vidclf", ".")
        assert extra in project["optional-dependencies"]


def check_python(words: list[str]) -> None:
    shown = {block.file for block in all_blocks()}
    for word in words:
        assert not word.endswith(".py") or (ROOT / word).is_file() or word in shown, f"there is no {word}"


CHECKS = {
    "vidclf": check_vidclf,
    "prefect": check_prefect,
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
}
COMMANDS = [(block.where, command) for block in all_blocks(*SHELL) for command in block.commands]


@pytest.mark.thorough
@pytest.mark.parametrize(("where", "command"), COMMANDS)
def test_a_command_in_a_block_could_be_run(where: str, command: str) -> None:
    check(command)


@pytest.mark.thorough
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_in_a_sentence_exists(page: Path) -> None:
    for span in spans(page):
        if span.split()[0] in ("vidclf", "make", "prefect") and "…" not in span and len(span.split()) > 1:
            named = click.MissingParameter, click.BadOptionUsage, click.exceptions.NoArgsIsHelpError
            with contextlib.suppress(*named):  # a sentence may name a command without all that it needs
                check(span)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "wrong",
    [
        "vidclf runs ingest/demo",
        "vidclf run ingest/nothing",
        "vidclf run ingest/demo --quickly",
        "vidclf run ingest/demo --set clips.colour=red",
        "vidclf run ingest/demo --config nowhere.yaml",
        "vidclf run ingest/demo --retry coffee",
        "vidclf predict a.mp4",  # without --model
        "prefect deployment run ingest/nothing",
        "prefect deployment run ingest/demo --param colour=red",
        "make coffee",
        "pip install 'vidclf[coffee]'",
        "python coffee.py",
        "coffee",
    ],
)
def test_a_wrong_command_is_found(wrong: str) -> None:
    with pytest.raises((AssertionError, click.UsageError, ConfigError)):
        check(wrong)


@pytest.mark.parametrize(
    "wrong", ["import vidclf\nvidclf.coffee()", "from vidclf.config import Coffee", "print(coffee)"]
)
def test_a_wrong_program_is_found(wrong: str) -> None:
    with pytest.raises((AssertionError, ImportError)):
        check_program(wrong, "page")


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted names of all settings."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from fields(part, f"{prefix}{name}.")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_setting_in_a_sentence_exists(page: Path) -> None:
    known = {name for model in CONFIGURATIONS.values() for name in fields(model)}
    groups = {name.partition(".")[0] for name in known if "." in name}
    for span in spans(page):
        found = re.fullmatch(r"(?:--set )?((\w+)\.\w+(?:\.\w+)*)(?:=.*)?", span)
        if found and found.group(2) in groups and not span.endswith((".html", ".parquet", ".csv")):
            name = found.group(1)
            assert name in known or name.rpartition(".")[0] in known - groups, f"{page.name}: there is no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_deployment_in_a_sentence_exists(page: Path) -> None:
    deployments = read_deployments(Path("prefect.yaml"))
    named = [span for span in spans(page) if re.fullmatch(rf"({'|'.join(CONFIGURATIONS)})/[\w-]+", span)]
    assert [name for name in named if name not in deployments] == []


@lru_cache
def code() -> str:
    """The text of all that runs, and of what it is configured by."""
    files = [path for room in ("vidclf", "flows", "tasks", "deployments") for path in (ROOT / room).rglob("*")]
    return "".join(path.read_text() for path in files if path.is_file() and path.suffix != ".pyc")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_an_environment_variable_of_ours_is_read_somewhere(page: Path) -> None:
    assert [name for name in re.findall(r"\bVIDCLF_[A-Z_]+\b", page.read_text()) if name not in code()] == []


def names_of(target: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(target), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for address in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", address):
            continue
        name, _, anchor = address.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {address}"
        assert not anchor or anchor in names_of(target), f"{page.name}: {address}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [*(ROOT / "docs").glob("*.md"), NOTEBOOK]
    assert [page.name for page in pages if page.name != "README.md" and f"]({page.name})" not in index] == []


@pytest.mark.parametrize("block", all_blocks("python"), ids=lambda block: block.where)
def test_a_program_compiles_and_the_names_that_it_imports_exist(block: Block) -> None:
    check_program(block.text, block.where)


def check_program(text: str, where: str) -> None:
    """Compile, look up what is imported of our packages and what is asked of them, and let ruff look for names."""
    tree = ast.parse(text, where)
    shown = {block.file for block in all_blocks("python")}
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                modules[alias.asname or alias.name] = importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and f"{str(node.module).replace('.', '/')}.py" not in shown:
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), f"{where}: {node.value.id} has no {node.attr}"
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F", "--quiet", "-"]
    found = subprocess.run(ruff, input=text, capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"{where}: {found.stdout}"


def test_the_notebook_is_small_stripped_and_its_cells_compile() -> None:
    assert NOTEBOOK.stat().st_size < 50_000
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [None] * len(cells)
    assert not any(cell["outputs"] for cell in cells)
    lines = ["".join(cell["source"]) for cell in cells]
    check_program("\n".join(lines), NOTEBOOK.name)


def test_the_manifests_page_has_every_column_of_every_schema() -> None:
    text = (ROOT / "docs" / "manifest.md").read_text()
    for schema in (MANIFEST, LEDGER, FRAMES, scoring.PREDICTIONS, dataset.PREDICTIONS):
        assert [name for name in schema.names if f"`{name}`" not in text] == []
