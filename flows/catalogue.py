"""The deployments of ``prefect.yaml``, as the command line sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from vidclf.config import CompareConfig, EvaluateConfig, IngestConfig, RetrainConfig, TrainConfig, parse
from vidclf.config.pytorchvideo import translated
from vidclf.errors import ConfigError

PREFECT_YAML = "prefect.yaml"

#: flow → its configuration; the flow itself is ``flows.{name}.{name}``.
CONFIGURATIONS: dict[str, type[BaseModel]] = {
    "ingest": IngestConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "compare": CompareConfig,
    "retrain": RetrainConfig,
}


@dataclass(frozen=True)
class Job:
    """A flow with its parameters, checked."""

    flow: str
    parameters: dict[str, Any]
    config: BaseModel


def find_job(name: str, config_file: Path | None = None, settings: Sequence[str] = ()) -> Job:
    """The deployment ``FLOW/NAME`` of ./prefect.yaml, changed by a YAML file and by ``key=value`` settings.

    Raises:
        ConfigError: there is no such deployment, or the parameters are wrong.
    """
    deployments = read_deployments(Path(PREFECT_YAML))
    if name not in deployments:
        raise ConfigError(f"there is no deployment {name!r}; there are: {', '.join(sorted(deployments))}")
    flow, parameters = deployments[name]
    if config_file is not None:
        content = _read_yaml(config_file)
        parameters = merged(parameters, translated(content) if flow == "train" else content)
    for setting in settings:
        parameters = merged(parameters, parse_setting(setting))
    return Job(flow, parameters, parse(CONFIGURATIONS[flow], parameters))


def read_deployments(path: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """``FLOW/NAME`` → flow and parameters.

    Raises:
        ConfigError: the file is not there, or is no prefect.yaml.
    """
    content = _read_yaml(path)
    found = {}
    for deployment in content.get("deployments") or []:
        flow = str(deployment["entrypoint"]).rsplit(".", 1)[-1]
        found[f"{flow}/{deployment['name']}"] = (flow, deployment.get("parameters") or {})
    return found


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` on top, group by group; lists, and what is no group, are replaced whole."""
    result = dict(base)
    for key, value in changes.items():
        held = result.get(key)
        result[key] = merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return result


def parse_setting(setting: str) -> dict[str, Any]:
    """``clips.short_side=128`` → ``{"clips": {"short_side": 128}}``; the value is YAML.

    Raises:
        ConfigError: it is not of the form key=value.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {setting!r}: expected key=value, as in --set clips.short_side=128")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting!r}: {_problem(error)}") from None
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        hint = "; run this in the project's folder" if path.name == PREFECT_YAML else ""
        raise ConfigError(f"{path}: {error.strerror}{hint}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {_problem(error)}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings as key: value")
    return content


def _problem(error: Exception) -> str:
    return " ".join(str(error).split())
