"""The project's own deployments, on the local stack: each of them is on the server as the file says."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.test_prefect_yaml import unknown_keys
from tests.integration.test_stack import ROOT, Project, own_ports
from vidclf.snapshot import dataset_store, read_snapshot

pytestmark = pytest.mark.integration

#: Whatever may stand in a prefect.yaml, in one deployment.
EVERYTHING = """
deployments:
  - name: everything
    description: Of a demo, with all that can be said.
    entrypoint: flows.ingest.ingest
    tags: [a, b]
    work_pool: {name: local, work_queue_name: default, job_variables: {env: {A: b}}}
    concurrency_limit: {limit: 2, collision_strategy: CANCEL_NEW}
    parameters: {dataset: d, annotations: {path: a.csv}, sources: [{kind: generated}]}
    schedules:
      - {cron: "0 3 * * 1", timezone: Europe/Zurich, slug: weekly, active: false, parameters: {dataset: e}}
      - {interval: 3600, timezone: Asia/Tokyo, slug: hourly, active: false}
    triggers:
      - type: event
        enabled: false
        expect: [prefect.flow-run.Completed]
        match: {prefect.resource.id: prefect.flow-run.*}
        match_related: {prefect.resource.name: somebody, prefect.resource.role: flow}
        posture: Reactive
        threshold: 3
        within: 60
        parameters: {dataset: "{{ event.payload.dataset }}"}
"""

#: Keys of a deployment in the file that ``differences`` looks at.
COMPARED = {
    *("name", "description", "entrypoint", "tags", "parameters", "work_pool", "concurrency_limit"),
    *("paused", "enforce_parameter_schema", "schedules", "triggers"),
}


@pytest.fixture
def project(own_home: Path) -> Iterator[Project]:
    """This repository, with a home and ports of its own."""
    project = Project(ROOT, own_home, own_ports())
    yield project
    project.vidclf("down")


class Server:
    """What a Prefect server has."""

    def __init__(self, api: str):
        self._api = api

    def deployments(self) -> dict[str, dict[str, Any]]:
        """``FLOW/NAME`` → deployment, with its automations."""
        flows = {flow["id"]: flow["name"] for flow in self._ask("flows/filter", {})}
        found = {f"{flows[one['flow_id']]}/{one['name']}": one for one in self._ask("deployments/filter", {})}
        for one in found.values():
            one["automations"] = self._ask(f"automations/related-to/prefect.deployment.{one['id']}")
        return found

    def page(self) -> str:
        """The page of the latest run."""
        newest = {"artifacts": {"key": {"any_": ["run"]}}, "sort": "CREATED_DESC", "limit": 1}
        return str(self._ask("artifacts/filter", newest)[0]["data"])

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._api}/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def differences(said: Mapping[str, Any], have: Mapping[str, Any]) -> list[str]:
    """Where a deployment on the server is not what the file says. Every key of the file is looked at."""
    pool, limit = said["work_pool"], said["concurrency_limit"]
    pairs = {
        "description": (said["description"].strip(), have["description"].strip()),
        "entrypoint": (said["entrypoint"], have["entrypoint"]),
        "tags": (sorted(said["tags"]), sorted(have["tags"])),
        "parameters": (said["parameters"], have["parameters"]),
        "pool": (pool["name"], have["work_pool_name"]),
        "queue": (pool.get("work_queue_name", "default"), have["work_queue_name"]),
        "variables": (pool.get("job_variables", {}), have["job_variables"]),
        "limit": (limit["limit"], have["global_concurrency_limit"]["limit"]),
        "strategy": (limit["collision_strategy"], have["concurrency_options"]["collision_strategy"]),
        "enforced": (said.get("enforce_parameter_schema", True), have["enforce_parameter_schema"]),
        "paused": (said.get("paused", False), have["paused"]),
        "schedules": (_schedules(said), sorted(map(_schedule, have["schedules"]), key=str)),
        "triggers": (len(said.get("triggers", [])), len(have["automations"])),
    }
    extra = said.keys() - COMPARED
    found = [f"{key} is not compared" for key in sorted(extra)]
    found += [f"{key}: {wanted!r} became {got!r}" for key, (wanted, got) in pairs.items() if wanted != got]
    for trigger, automation in zip(said.get("triggers", []), _in_order(have["automations"]), strict=True):
        found += _trigger_differences(trigger, automation)
    return found


def _schedules(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """As the server words them."""
    worded = [
        {
            **{key: one[key] for key in ("cron", "rrule") if key in one},
            **({"interval": float(one["interval"])} if "interval" in one else {}),
            "timezone": one["timezone"],
            "slug": one["slug"],
            "active": one.get("active", True),
            "parameters": one.get("parameters", {}),
        }
        for one in said.get("schedules", [])
    ]
    return sorted(worded, key=str)


def _schedule(have: Mapping[str, Any]) -> dict[str, Any]:
    timing = have["schedule"]
    return {
        **{key: timing[key] for key in ("cron", "rrule") if key in timing},
        **({"interval": float(timing["interval"])} if "interval" in timing else {}),
        "timezone": timing["timezone"],
        "slug": have["slug"],
        "active": have["active"],
        "parameters": have["parameters"],
    }


def _in_order(automations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(automations, key=lambda one: one["created"])


def _trigger_differences(said: Mapping[str, Any], automation: Mapping[str, Any]) -> list[str]:
    (action,) = automation["actions"]
    found = []
    for key, wanted in said.items():
        if key in ("name", "description", "enabled"):
            got = automation[key]
        elif key in ("parameters", "job_variables", "schedule_after"):
            got = action[key]
        else:
            got = automation["trigger"][key]
        if key in ("expect", "after", "for_each"):
            wanted, got = sorted(wanted), sorted(got)
        if key == "within":
            wanted, got = timedelta(seconds=wanted), timedelta(seconds=got)
        if wanted != got:
            found.append(f"trigger's {key}: {wanted!r} became {got!r}")
    return found


def test_every_deployment_is_on_the_server_as_the_file_says_and_one_really_runs(
    project: Project, tmp_path: Path
) -> None:
    up = project.vidclf("up")
    assert up.returncode == 0, up.stderr
    environment = project.stack()["environment"]
    server = Server(environment["PREFECT_API_URL"])
    said = {
        f"{one['entrypoint'].rsplit('.', 1)[-1]}/{one['name']}": one
        for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    }
    have = server.deployments()
    assert set(have) == set(said)
    assert [f"{name}: {one}" for name in said for one in differences(said[name], have[name])] == []

    prefect = ("-m", "prefect", "--no-prompt")
    everything = yaml.safe_load(EVERYTHING)
    assert unknown_keys(everything) == []
    (tmp_path / "prefect.yaml").write_text(EVERYTHING)
    written = project.run(*prefect, "deploy", "--all", "--prefect-file", str(tmp_path / "prefect.yaml"), **environment)
    assert written.returncode == 0, written.stdout + written.stderr
    (one,) = everything["deployments"]
    deployed = server.deployments()["ingest/everything"]
    assert differences(one, deployed) == []
    one["schedules"][0]["timezone"], one["triggers"][0]["threshold"] = "Europe/Paris", 4
    assert len(differences(one, deployed)) == 2  # so that what is compared is not nothing

    wrong = project.run(
        *prefect, "deployment", "run", "ingest/demo", "--param", 'clips={"short_sid": 64}', **environment
    )
    assert wrong.returncode == 1
    assert "'short_sid' was unexpected" in wrong.stdout + wrong.stderr

    # one group is replaced, the others stay
    annotations = json.dumps({"path": "vidclf/generated/dancing.csv", "limit": 16})
    done = project.run(
        *prefect, "deployment", "run", "ingest/demo", "--watch", "--param", f"annotations={annotations}", **environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    snapshot = read_snapshot(dataset_store(str(project.home / "store"), "dancing-demo"))
    assert snapshot.stats["annotations"] == 16
    page = server.page()
    assert page.startswith("# ingest dancing-demo\n")
    assert f"`{project.home}/store/datasets/dancing-demo/snapshots/{snapshot.snapshot_id}`" in page
    assert "/report.html`" in page
    assert "(/runs/flow-run/" in page
    assert project.vidclf("down").returncode == 0
    assert project.processes() == []
