"""``retrain/kinetics-dancing`` on a real Prefect server: its schedule, and what becomes of announced snapshots."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.server import prefect_server
from tests.integration.test_pipeline import ROOT

pytestmark = pytest.mark.integration
DEPLOYMENT = "retrain/kinetics-dancing"
PATIENCE = 120.0  # seconds, for the server's triggers

#: What flows say that publish snapshots: one inside a retraining first, one of another dataset, then two that count.
ANNOUNCING = """
from prefect import flow
from tasks.announce import announce, inside_retraining
from vidclf.config import IngestConfig

@flow
def ingest(dataset: str, snapshot_id: str) -> None:
    config = IngestConfig(dataset=dataset, annotations={"path": "videos"}, sources=[{"kind": "folder", "path": "videos"}])
    announce(config, snapshot_id)

@flow
def retrain() -> None:
    with inside_retraining():
        ingest("kinetics-dancing", "0" * 16)

retrain()
ingest("kinetics-700", "1" * 16)
ingest("kinetics-dancing", "2" * 16)
ingest("kinetics-dancing", "3" * 16)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with the two deployments of ``retrain`` on it, as ``prefect deploy`` makes them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("events")
        patch.setenv("VIDCLF_HOME", str(folder / "home"))
        patch.setenv("PREFECT_HOME", "set by the next line")
        patch.delenv("PREFECT_API_URL", raising=False)
        content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
        content["deployments"] = [one for one in content["deployments"] if one["entrypoint"] == "flows.retrain.retrain"]
        (folder / "prefect.yaml").write_text(yaml.safe_dump(content))
        with prefect_server() as address, httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            run(folder, "-m", "prefect", "work-pool", "create", "--type", "process", "local")
            run(folder, "-m", "prefect", "--no-prompt", "deploy", "--all")
            yield client


def run(folder: Path, *command: str) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def post(server: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    answer = server.post(path, json=body)
    answer.raise_for_status()
    return answer.json()


def triggered(server: httpx.Client, deployment: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """The runs that automations made of the deployment, once there are so many of them."""
    until = time.monotonic() + PATIENCE
    while True:
        runs = post(server, "/flow_runs/filter", {"deployments": {"id": {"any_": [deployment["id"]]}}})
        found = [one for one in runs if (one["created_by"] or {}).get("type") == "AUTOMATION"]
        if len(found) >= number or time.monotonic() > until:
            return found
        time.sleep(0.2)


def propose(server: httpx.Client, run_id: str, state: str) -> tuple[str, str]:
    """What the server says to a state that a worker proposes, and the state that the run has then."""
    answer = post(server, f"/flow_runs/{run_id}/set_state", {"state": {"type": state}})
    return answer["status"], answer["state"]["name"]


def test_a_snapshot_starts_one_retraining_weekly_ones_come_by_themselves_and_none_is_dropped(
    server: httpx.Client, tmp_path: Path
) -> None:
    deployment = server.get(f"/deployments/name/{DEPLOYMENT}").raise_for_status().json()
    (schedule,) = deployment["schedules"]
    assert schedule["active"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 3 * * 1", "Europe/Berlin")
    assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert deployment["global_concurrency_limit"]["limit"] == 1

    run(tmp_path, "-c", ANNOUNCING)
    runs = triggered(server, deployment, 2)
    assert sorted(one["parameters"]["snapshot"] for one in runs) == ["2" * 16, "3" * 16]
    for one in runs:  # all else is the deployment's
        assert {**one["parameters"], "snapshot": None} == {**deployment["parameters"], "snapshot": None}

    first, second = (one["id"] for one in runs)
    assert propose(server, first, "PENDING") == ("ACCEPT", "Pending")
    assert propose(server, first, "RUNNING") == ("ACCEPT", "Running")
    assert propose(server, second, "PENDING") == ("REJECT", "AwaitingConcurrencySlot")
    assert propose(server, first, "COMPLETED") == ("ACCEPT", "Completed")
    assert propose(server, second, "PENDING") == ("ACCEPT", "Pending")
    assert len(triggered(server, deployment, 2)) == 2
