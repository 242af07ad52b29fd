"""Past one machine: Postgres, S3 and two Ray nodes give what a laptop gives, also when one of the nodes is killed.

The services are those of deployments/compose.yaml, with its commands and variables, as processes of this machine. Where
there is no Redis, Prefect's services run inside its server.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flows.catalogue import find_job
from flows.server import free_port
from tests.deployments.infrastructure import FOLDER, ROOT, compose
from tests.integration.test_killed import DATASET, SETTINGS, Kill, Place, cluster_access, ray_node, rows
from vidclf.snapshot import dataset_store, read_snapshot
from vidclf.storage import Store

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1800)]
POSTGRES = Path("/usr/lib/postgresql/15/bin")
STORE = "s3://vidclf"  # as compose.yaml names it
PASSWORD = "not-a-secret"
SPLITS = {"train": 12, "validate": 6}
TRAIN = {
    "data": {"num_frames": 4, "sampling_rate": 1, "side_size": 32, "crop_size": 32},
    "optim": {"epochs": 1, "batch_size": 4},
}


@pytest.fixture
def postgres() -> Iterator[str]:
    """HOST:PORT of a Postgres with the databases of the cluster, which is gone with its data afterwards."""
    if not (POSTGRES / "initdb").exists():
        pytest.skip(f"PostgreSQL is not in {POSTGRES} (Debian's package postgresql-15)")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    user: dict[str, Any] = {}
    if os.getuid() == 0:  # which Postgres refuses to run as
        account = pwd.getpwnam("nobody")
        os.chown(folder, account.pw_uid, account.pw_gid)
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    data, port = folder / "data", free_port()
    initdb = [str(POSTGRES / "initdb"), "--pgdata", str(data), "--username", "vidclf", "--auth", "scram-sha-256"]
    subprocess.run([*initdb, "--pwfile", str(folder / "password")], check=True, capture_output=True, cwd=folder, **user)
    command = [str(POSTGRES / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
    environment = {**os.environ, "PGPASSWORD": PASSWORD, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "vidclf"}

    def ask(*arguments: str) -> int:
        return subprocess.run(arguments, env=environment, capture_output=True, check=False).returncode

    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **user) as server,
    ):
        try:
            wait_until(lambda: ask(str(POSTGRES / "pg_isready")) == 0, server)
            assert ask(str(POSTGRES / "createdb"), "prefect") == 0
            for script in sorted((FOLDER / "postgres").glob("*.sql")):
                assert ask(str(POSTGRES / "psql"), "--dbname", "prefect", "--file", str(script)) == 0
            yield f"127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGINT)
    shutil.rmtree(folder)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str | None]:
    """HOST:PORT of a Redis, where its program is here."""
    if not shutil.which("redis-server"):
        yield None
        return
    port = str(free_port())
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"{process.args} ended with status {process.returncode}"
        assert time.monotonic() < deadline, f"{process.args} does not answer"
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Services:
    """The services of compose.yaml, on addresses of this machine."""

    def __init__(self, place: Place, addresses: Mapping[str, str], redis: str | None):
        secret = {"POSTGRES_PASSWORD": PASSWORD, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        services = compose({**secret, "RAY_AUTH_TOKEN": (place.folder / "token").read_text()})["services"]
        self.has_redis = redis is not None
        host, port = (redis or "redis:6379").split(":")
        addresses = {
            "redis:6379": f"{host}:{port}",
            '"redis"': json.dumps(host),
            '"6379"': json.dumps(port),
            **addresses,
        }
        text = json.dumps(services)
        for address, here in addresses.items():
            text = text.replace(address, here)
        self._services = json.loads(text)
        self._place = place
        self._logs = place.folder / "logs"
        self._logs.mkdir()

    def environment(self, name: str) -> dict[str, str]:
        path = [str(FOLDER / "image"), str(Path(sys.executable).parent), os.environ["PATH"]]
        own = self._services[name]["environment"]
        if not self.has_redis:
            own = {key: value for key, value in own.items() if "REDIS" not in key and "redis" not in value}
        prefect_home = self._place.folder / "prefect" / name
        prefect_home.mkdir(parents=True, exist_ok=True)
        return {
            **self._place.environment,
            **own,
            "PREFECT_HOME": str(prefect_home),
            "PATH": os.pathsep.join(path),
        }

    def run(self, name: str) -> None:
        """A service that does one thing and ends."""
        done = subprocess.run(
            self._services[name]["command"], env=self.environment(name), cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    @contextlib.contextmanager
    def start(self, name: str, is_healthy: Callable[[], bool]) -> Iterator[None]:
        command = [word for word in self._services[name]["command"] if self.has_redis or word != "--no-services"]
        with (self._logs / name).open("wb") as log:
            process = subprocess.Popen(command, env=self.environment(name), cwd=ROOT, stdout=log, stderr=log)
            try:
                wait_until(is_healthy, process)
                yield
            finally:
                process.terminate()
                process.wait(60)

    def log(self, name: str) -> str:
        return (self._logs / name).read_text(errors="replace")


@pytest.fixture
def new_place(tmp_path: Path) -> Iterator[Callable[[], Place]]:
    """Makes homes for runs on the same annotations, some of each of two splits."""
    with (ROOT / "vidclf/generated/dancing.csv").open() as file:
        listed = list(csv.DictReader(file))
    path = tmp_path / "some.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, listed[0].keys())
        writer.writeheader()
        for split, number in SPLITS.items():
            writer.writerows([row for row in listed if row["split"] == split][:number])
    with contextlib.ExitStack() as stack:

        def make() -> Place:
            place = Place({**SETTINGS, "annotations": {"path": str(path)}, "augment": None}, {})
            stack.callback(place.end)
            return place

        yield make


def test_postgres_s3_and_two_machines_give_what_a_laptop_gives_also_when_one_of_them_is_killed(
    postgres: str, redis: str | None, bucket: str, new_place: Callable[[], Place]
) -> None:
    place, laptop = new_place(), new_place()
    place.environment |= cluster_access(place.folder)
    prefect, mlflow = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    kill = Kill("child", "*clip.mp4.part*", "after", nth=3, victim="node")
    with contextlib.ExitStack() as stack:
        head = stack.enter_context(ray_node(place, "--head", "--temp-dir", str(place.temporary / "r")))
        services = Services(
            place,
            {
                "postgres:5432": postgres,
                "http://s3:8333": os.environ["AWS_ENDPOINT_URL"],
                "prefect-server:4200": prefect,
                '"4200"': json.dumps(prefect.split(":")[1]),
                "http://mlflow:5000": f"http://{mlflow}",
                '"5000"': json.dumps(mlflow.split(":")[1]),
                "ray-head:6379": head,
                "0.0.0.0": "127.0.0.1",
                "127.0.0.1:5000": mlflow,
            },
            redis,
        )
        services.run("bucket")
        services.run("prefect-migrate")
        stack.enter_context(services.start("prefect-server", lambda: answers(f"http://{prefect}/api/health")))
        if redis:
            stack.enter_context(services.start("prefect-services", lambda: True))
        stack.enter_context(services.start("mlflow", lambda: answers(f"http://{mlflow}/health")))
        services.run("deploy")
        stack.enter_context(services.start("worker", lambda: "started!" in services.log("worker")))

        def flow_run(deployment: str, parameters: dict[str, Any]) -> None:
            """Ask for a run, as a person does, and wait until the worker has done it."""
            command = [sys.executable, "-m", "prefect", "--no-prompt", "deployment", "run", deployment, "--watch"]
            given = {**services.environment("deploy"), "PREFECT_LOGGING_LEVEL": "ERROR"}
            done = subprocess.run(
                [*command, "--params", json.dumps(parameters)], cwd=ROOT, env=given, capture_output=True, text=True
            )
            assert done.returncode == 0, services.log("worker")[-4000:]

        settings = Path(place.settings)
        with ray_node(place, "--address", head, **place.killing(kill)):
            flow_run("ingest/demo", find_job("ingest/demo", settings).parameters)
        assert place.came_to(kill)
        stack.enter_context(ray_node(place, "--address", head))  # another machine takes its place

        trained = find_job("train/demo", None, [f"{group}={json.dumps(value)}" for group, value in TRAIN.items()])
        flow_run("train/demo", trained.parameters)
        (model,) = {path.split("/")[0] for path in stored("models")}
        judged = find_job("evaluate/demo", None, [f"model={STORE}/models/{model}", "split=val"])
        flow_run("evaluate/demo", judged.parameters)

        assert finished(postgres, "prefect", "SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'") == 3
        assert finished(postgres, "mlflow", "SELECT count(*) FROM runs WHERE status = 'FINISHED'") == 2

    there = read_snapshot(dataset_store(STORE, DATASET))
    laptop.run()
    assert there.snapshot_id == laptop.snapshot().snapshot_id
    place.store = dataset_store(STORE, DATASET)
    assert set(rows(place, "transcode")["attempts"].to_pylist()) == {1}, "a machine's death was held against a clip"

    assert "ray" in {path.split("/")[1] for path in stored("training")}  # Ray Train's notes; states go when it is done
    assert any(name.endswith("/predictions.parquet") for name in stored("models"))
    assert any(name.endswith("/model.safetensors") for name in stored("mlflow")), stored("mlflow")
    left = {path.relative_to(place.folder).parts[:3] for path in place.home.rglob("*") if path.is_file()}
    assert not left, "something stayed on the local disk"
    assert not list(place.folder.glob("prefect/*/storage/*")), "results stayed on the local disk"


def stored(folder: str) -> list[str]:
    """The names of what lies in a folder of the bucket."""
    store = Store(f"{STORE}/{folder}")
    root = f"{STORE.removeprefix('s3://')}/{folder}/"
    store.fs.invalidate_cache()
    return [name.removeprefix(root) for name in store.fs.find(root)]


def finished(postgres: str, database: str, question: str) -> int:
    import psycopg2

    host, port = postgres.split(":")
    with (
        contextlib.closing(
            psycopg2.connect(host=host, port=port, user="vidclf", password=PASSWORD, dbname=database)
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(question)
        return int(cursor.fetchone()[0])
