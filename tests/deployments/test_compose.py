"""compose.yaml: by its schema, and whether its services find each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from deployments.services import WORK_POOL, Ports
from tests.deployments.infrastructure import FOLDER, ROOT, VARIABLE, compose, secrets

OURS = "vidclf"


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return compose(secrets())["services"]


def check(document: dict[str, Any]) -> None:
    """Raises ValueError where it is no Compose file."""
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(document)).validate()


def test_it_is_a_compose_file() -> None:
    check(compose(secrets()))


@pytest.mark.parametrize(
    "change",
    [
        {"healthchek": {}},
        {"depends_on": {"postgres": {"condition": "service_helthy"}}},
        {"restart": "sometimes"},
        {"ports": 4200},
    ],
)
def test_a_mistake_in_it_would_be_found(change: dict[str, Any]) -> None:
    document = compose(secrets())
    document["services"]["mlflow"] |= change
    with pytest.raises(ValueError, match=r"."):
        check(document)


def test_docker_compose_takes_it(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("Docker's compose plugin is not here")
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in secrets().items()))
    command = [docker, "compose", "--file", str(FOLDER / "compose.yaml"), "--env-file", str(tmp_path / ".env")]
    done = subprocess.run([*command, "--profile", "gpu", "config"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == compose(secrets())["services"].keys()


def test_what_a_service_waits_for_is_there_and_can_come_to_pass(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, wait in service.get("depends_on", {}).items():
            needed = services[other]
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in needed, f"{name} waits for the health of {other}"
            elif wait["condition"] == "service_completed_successfully":
                assert needed["restart"] == "on-failure", f"{name} waits for the end of {other}, which has none"


def test_ports_are_published_on_this_machine_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 4
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in published)
    ours = Ports()
    assert {f"127.0.0.1:{port}:{port}" for port in (ours.prefect, ours.mlflow)} <= set(published)


def test_an_address_names_a_service_and_the_port_that_it_listens_on(services: dict[str, Any]) -> None:
    listens = {"postgres": {"5432"}, "redis": {"6379"}, "s3": {"8333"}}
    for name, service in services.items():
        command = service.get("command", [])
        listens.setdefault(name, {command[at + 1] for at, word in enumerate(command) if word == "--port"})
    texts = chain.from_iterable(
        (*service.get("environment", {}).values(), *service.get("command", [])) for service in services.values()
    )
    named = {found for text in texts for found in re.findall(r"(?:^|[/@,])([a-z][a-z0-9-]*):(\d+)", str(text))}
    addresses = {(host, port) for host, port in named if host != "localhost"}
    assert {host for host, _ in addresses} == {"postgres", "redis", "s3", "prefect-server", "mlflow", "ray-head"}
    for host, port in addresses:
        assert port in listens[host], f"{host}:{port}"


def test_a_health_check_asks_the_port_that_the_service_listens_on(services: dict[str, Any]) -> None:
    for name in ("prefect-server", "mlflow"):
        command = services[name]["command"]
        asked = re.search(r"127\.0\.0\.1:(\d+)", services[name]["healthcheck"]["test"][-1])
        assert asked is not None
        assert asked[1] == command[command.index("--port") + 1]


def test_secrets_come_from_a_file_that_is_not_in_git() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    asked = {name: kind for name, kind, _ in VARIABLE.findall(text)}
    assert set(asked) == set(secrets())
    for name, kind in asked.items():
        if re.search("KEY|SECRET|PASSWORD|TOKEN", name):
            assert kind == "?", f"{name} has a default"
    assert not re.search(r"^ *\w*(KEY|SECRET|PASSWORD|TOKEN)\w*: +[^$\s]", text, re.MULTILINE)
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "deployments/.env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


def test_a_secret_that_is_missing_is_named() -> None:
    given = secrets()
    del given["RAY_AUTH_TOKEN"]
    with pytest.raises(KeyError, match="RAY_AUTH_TOKEN"):
        compose(given)


def test_state_lies_in_volumes_that_are_declared() -> None:
    document = compose(secrets())
    used = {volume.split(":")[0] for service in document["services"].values() for volume in service.get("volumes", [])}
    assert {name for name in used if not name.startswith(".")} == document["volumes"].keys()
    assert all((FOLDER / name).exists() for name in used if name.startswith("."))
    stateful = {name for name, service in document["services"].items() if "volumes" in service}
    assert stateful == {"postgres", "redis", "s3"}


def test_every_image_is_pinned_and_ours_are_one(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()}
    assert all(re.fullmatch(r"[a-z/]+:\d[\w.-]*\d[\w.-]*", image) for image in images)
    assert len([image for image in images if image.startswith(f"{OURS}:")]) == 1
    built = [service["build"] for service in services.values() if "build" in service]
    assert [(FOLDER / build["context"] / build["dockerfile"]).exists() for build in built] == [True]


def test_prefect_has_a_postgres_that_its_documentation_asks_for(services: dict[str, Any]) -> None:
    version = re.match(r"postgres:(\d+)", services["postgres"]["image"])
    assert version is not None
    assert int(version[1]) >= 15


def test_runs_go_to_the_pool_that_the_deployments_name(services: dict[str, Any]) -> None:
    pools = {
        deployment["work_pool"]["name"]
        for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    }
    assert pools == {WORK_POOL}
    worker = services["worker"]["command"]
    assert worker[worker.index("--pool") + 1] == WORK_POOL
    assert f"--overwrite {WORK_POOL};" in services["deploy"]["command"][-1]
