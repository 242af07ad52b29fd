"""The files of ``deployments/`` as tests read them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployments"
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def constraints() -> dict[str, str]:
    """Package → its exact version."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def secrets() -> dict[str, str]:
    """The variables of .env.example, all of them filled in."""
    lines = (FOLDER / ".env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value or f"some-{name.lower()}" for name, value in given.items()}


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """compose.yaml with the variables in their places, as `docker compose config` gives it.

    Raises:
        KeyError: one that it insists on is not among them.
    """

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        return variables[name] if kind == "?" else variables.get(name) or default

    return yaml.safe_load(VARIABLE.sub(value, (FOLDER / "compose.yaml").read_text()))


def kubernetes() -> list[dict[str, Any]]:
    """What `kubectl apply --kustomize` would send."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl, which has kustomize, is not here")
    command = ["kubectl", "kustomize", str(FOLDER / "kubernetes")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def ray_job() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "kubernetes/ray-job.yaml").read_text())


def flow_run() -> dict[str, Any]:
    """The base job template of the Kubernetes work pool."""
    return json.loads((FOLDER / "kubernetes/flow-run.json").read_text())


def ray_up() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "aws/ray-up.yaml").read_text())


def instructions() -> list[tuple[str, list[str]]]:
    """The Dockerfile: instruction, and its words."""
    text = (FOLDER / "image/Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split()[1:]) for line in joined]


def everywhere(document: Any, key: str) -> Iterator[Any]:
    """Every value of this key, at any depth."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == key:
                yield value
            yield from everywhere(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from everywhere(value, key)


def words(command: str | list[str]) -> list[list[str]]:
    """The simple commands of a command line: of `sh -c` the lines of its script, without `env` and `join-ray`."""
    parts = shlex.split(command) if isinstance(command, str) else list(command)
    if parts[:1] == ["sh"]:
        return [simple for line in re.split(r"[;\n]|&&", parts[-1]) if line.strip() for simple in words(line.strip())]
    while parts and (parts[0] in ("env", "join-ray") or parts[0].startswith("--chdir")):
        parts = parts[1:]
    return [parts]
