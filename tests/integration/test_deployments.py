"""The project's own deployments, on the local stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.catalogue import read_deployments
from tests.integration.test_stack import ROOT, Project, own_ports
from vidclf.snapshot import dataset_store, read_snapshot

pytestmark = pytest.mark.integration


@pytest.fixture
def project(own_home: Path) -> Iterator[Project]:
    """This repository, with a home and ports of its own."""
    project = Project(ROOT, own_home, own_ports())
    yield project
    project.vidclf("down")


def test_every_deployment_is_on_the_server_as_the_file_says_and_one_really_runs(project: Project) -> None:
    up = project.vidclf("up")
    assert up.returncode == 0, up.stderr
    environment = project.stack()["environment"]
    prefect = ("-m", "prefect", "--no-prompt")

    for name, (_, parameters) in read_deployments(ROOT / "prefect.yaml").items():
        inspected = project.run(*prefect, "deployment", "inspect", name, "--output", "json", **environment)
        assert inspected.returncode == 0, inspected.stderr
        deployed = json.loads(inspected.stdout)
        assert deployed["parameters"] == parameters, name
        assert deployed["global_concurrency_limit"]["limit"] == 1, name
        assert deployed["concurrency_options"]["collision_strategy"] == "ENQUEUE", name
        assert deployed["work_pool_name"] == "local"

    annotations = json.dumps({"path": "vidclf/generated/dancing.csv", "limit": 16})
    done = project.run(
        *prefect, "deployment", "run", "ingest/demo", "--watch", "--param", f"annotations={annotations}", **environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    snapshot = read_snapshot(dataset_store(str(project.home / "store"), "dancing-demo"))
    assert snapshot.stats["annotations"] == 16
    assert project.vidclf("down").returncode == 0
    assert project.processes() == []
