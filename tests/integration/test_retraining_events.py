"""``retrain/kinetics-dancing`` on a real Prefect server: its schedule, and what becomes of announced snapshots."""

from __future__ import annotations

import os
import shutil
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
from tests.snapshotted import DATASET, snapshotted
from vidclf.snapshot import LATEST, dataset_store, write_snapshot

pytestmark = [pytest.mark.integration, pytest.mark.slow]
DEPLOYMENT = "retrain/kinetics-dancing"
PATIENCE = 120.0  # seconds, for the server's triggers

#: Flows that publish: inside a retraining; another dataset; then two that count, the first of them twice.
PUBLISHING = """
import sys
from prefect import flow
from tasks.announce import inside_retraining
from tasks.publish import publish_snapshot
from tasks.run import IngestRun
from vidclf.config import IngestConfig
from vidclf.lease import hold
from vidclf.snapshot import dataset_store, read_snapshot

store, first, second, third = sys.argv[1:]

@flow
def ingest(dataset: str, snapshot_id: str) -> str:
    sources = [{"kind": "folder", "path": "videos"}]
    config = IngestConfig(dataset=dataset, store=store, annotations={"path": "videos"}, sources=sources)
    data = dataset_store(store, dataset)
    with hold(data, "run") as lease:
        return publish_snapshot(IngestRun(config, data, "run", lease, gate=None), read_snapshot(data, snapshot_id))

@flow
def retrain() -> None:
    with inside_retraining():
        ingest("kinetics-dancing", first)

retrain()
ingest("kinetics-700", second)
ingest("kinetics-dancing", second)
ingest("kinetics-dancing", second)
ingest("kinetics-dancing", third)
"""


def snapshots(folder: Path) -> list[str]:
    """Three of each of two datasets in ``folder/store``, none of which is the latest yet."""
    snapshot = snapshotted(folder, {"train": 2})
    tiny, rows = dataset_store(str(folder / "store"), DATASET), snapshot.clips
    tiny.delete(LATEST)
    found = [write_snapshot(tiny, rows.slice(0, n), snapshot.classes, snapshot.made_by).snapshot_id for n in (1, 2, 3)]
    for name in ("kinetics-dancing", "kinetics-700"):
        shutil.copytree(tiny.root, Path(tiny.root).with_name(name))
    return found


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
            run(folder, client, "-m", "prefect", "work-pool", "create", "--type", "process", "local")
            run(folder, client, "-m", "prefect", "--no-prompt", "deploy", "--all")
            yield client


def run(folder: Path, server: httpx.Client, *command: str) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PREFECT_API_URL": str(server.base_url).rstrip("/")}
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

    _, second, third = published = snapshots(tmp_path)
    run(tmp_path, server, "-c", PUBLISHING, str(tmp_path / "store"), *published)
    runs = triggered(server, deployment, 2)
    assert sorted(one["parameters"]["snapshot"] for one in runs) == sorted([second, third])
    for one in runs:  # all else is the deployment's
        assert {**one["parameters"], "snapshot": None} == {**deployment["parameters"], "snapshot": None}

    works, waits = (one["id"] for one in runs)
    assert propose(server, works, "PENDING") == ("ACCEPT", "Pending")
    assert propose(server, works, "RUNNING") == ("ACCEPT", "Running")
    assert propose(server, waits, "PENDING") == ("REJECT", "AwaitingConcurrencySlot")
    assert propose(server, works, "COMPLETED") == ("ACCEPT", "Completed")
    assert propose(server, waits, "PENDING") == ("ACCEPT", "Pending")
    assert len(triggered(server, deployment, 2)) == 2
