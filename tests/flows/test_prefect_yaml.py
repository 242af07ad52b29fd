"""prefect.yaml has only keys that Prefect knows: it ignores others in silence, and a setting would be lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.cli.deploy._triggers import DeploymentTriggerAdapter
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]
ANCHORS = "definitions"  # where what deployments share is written; Prefect does not look there


def unknown_keys(content: Mapping[str, Any]) -> list[str]:
    """Where prefect.yaml says something that Prefect does not read."""
    return [
        *_beyond(content, PrefectYamlModel, "", ANCHORS),
        *(
            key
            for number, one in enumerate(content["deployments"])
            for key in _of_deployment(one, f"deployments.{number}.")
        ),
    ]


def _of_deployment(deployment: Mapping[str, Any], place: str) -> Iterator[str]:
    yield from _beyond(deployment, DeploymentConfig, place)
    yield from _beyond(deployment.get("work_pool") or {}, WorkPoolConfig, f"{place}work_pool.")
    limit = deployment.get("concurrency_limit")
    if isinstance(limit, dict):
        yield from _beyond(limit, ConcurrencyLimitSpec, f"{place}concurrency_limit.")
    for number, schedule in enumerate(deployment.get("schedules") or []):
        yield from _beyond(schedule, RawScheduleConfig, f"{place}schedules.{number}.")
    for number, trigger in enumerate(deployment.get("triggers") or []):
        parsed = DeploymentTriggerAdapter.validate_python({"name": "unnamed", **trigger})
        yield from _beyond(trigger, type(parsed), f"{place}triggers.{number}.")


def _beyond(given: Mapping[str, Any], known: type[BaseModel], place: str, *others: str) -> Iterator[str]:
    names = {name for field, info in known.model_fields.items() for name in (field, info.alias)} | set(others)
    yield from (f"{place}{key}" for key in given if key not in names)


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    return found


def test_every_key_is_one_that_prefect_reads(content: dict[str, Any]) -> None:
    assert unknown_keys(content) == []


def test_an_unknown_key_is_found_wherever_it_stands() -> None:
    wrong = {
        "name": "x",
        "deploymentz": [],
        "deployments": [
            {
                "name": "a",
                "parameter": {},
                "work_pool": {"name": "local", "queue": "default"},
                "concurrency_limit": {"limit": 1, "strategy": "ENQUEUE"},
                "schedules": [{"cron": "0 3 * * *", "time_zone": "UTC"}],
                "triggers": [{"type": "event", "expect": ["a"], "expects": ["b"]}],
            }
        ],
    }
    assert unknown_keys(wrong) == [
        "deploymentz",
        "deployments.0.parameter",
        "deployments.0.work_pool.queue",
        "deployments.0.concurrency_limit.strategy",
        "deployments.0.schedules.0.time_zone",
        "deployments.0.triggers.0.expects",
    ]


def test_every_deployment_says_what_it_is_and_where_it_runs(content: dict[str, Any]) -> None:
    for deployment in content["deployments"]:
        flow = deployment["entrypoint"].rsplit(".", 1)[-1]
        name = f"{flow}/{deployment['name']}"
        assert deployment["entrypoint"] == f"flows.{flow}.{flow}", name
        assert len(deployment["description"]) > 20, name
        assert deployment["tags"], name
        assert deployment["work_pool"]["name"] == "local", name
        assert deployment["concurrency_limit"]["limit"] >= 1, name  # beside the dataset's lease
        for schedule in deployment.get("schedules", []):
            assert schedule["timezone"], name  # else it is UTC, which nobody said
            assert schedule["slug"], name  # else each `make up` would add one
