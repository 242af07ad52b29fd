"""Checks of the stack, of the servers that are named, and of the store."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from deployments import record, stack
from deployments.doctor.finding import Check, Finding, note, ok, wrong
from deployments.doctor.machine import existing, unwritable
from deployments.services import Ports
from deployments.supervision import is_free, listener
from vidclf.errors import StorageError
from vidclf.home import default_store, home, running_stack
from vidclf.reach import Unanswered, read_json, require_answer

#: What a store says → what to do. The first that is found counts.
STORE_REMEDIES = {
    "Unable to locate credentials": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "Access Key": "see AWS_ACCESS_KEY_ID",
    "signature": "see AWS_SECRET_ACCESS_KEY, and the clock of this machine",
    "bucket does not exist": "make the bucket, or name another",
    "No such file": "make the bucket, or name another",
    "Could not connect": "see AWS_ENDPOINT_URL: nobody answers there",
    "Access Denied": "see the rights of the credentials on this bucket, and its name",
    "Forbidden": "see the rights of the credentials on this bucket, and its name",
    "No space left": "free some, or name another store",
}


def servers_checks(store: str | None) -> list[Check]:
    """The checks of this module, of this store or the usual one."""

    def the_store() -> Finding:
        return store_of(store or default_store())

    return [ports, the_stack, prefect, mlflow, the_store]


def ports() -> Finding:
    """Whether the stack could listen, or does."""
    running = record.read(home())
    if running.services:
        return ok("ports", ", ".join(f"{name} {port}" for name, port in asdict(running.ports).items()))
    named = {name: os.environ.get(f"VIDCLF_{name.upper()}_PORT", str(port)) for name, port in asdict(Ports()).items()}
    if nonsense := [f"VIDCLF_{name.upper()}_PORT is {port!r}" for name, port in named.items() if not port.isdecimal()]:
        return wrong("ports", ", ".join(nonsense), "a port is a number from 1 to 65535")
    wanted = {name: int(port) for name, port in named.items()}
    taken = {name: port for name, port in wanted.items() if not is_free(port)}
    if not taken:
        return ok("ports", "free: " + ", ".join(str(port) for port in wanted.values()))
    names = ", ".join(f"VIDCLF_{name.upper()}_PORT" for name in taken)
    found = ", ".join(f"{port} is taken ({listener(port)})" for port in taken.values())
    return wrong("ports", found, f"choose others with {names}, or end who has them")


def the_stack() -> list[Finding]:
    """The services of `vidclf up`."""
    standing = stack.status(home(), record.read(home()))
    if not standing:
        return [ok("stack", "not up, and not needed for `vidclf run`; `vidclf up` starts it")]
    found = []
    for service in standing:
        said = ", ".join(filter(None, [service.state, service.history]))
        if service.state == "healthy":
            found.append(ok(service.name, said))
        elif service.state == "restarting":
            found.append(note(service.name, said, f"wait; if it does not end, see {home()}/logs/{service.name}.log"))
        else:
            found.append(wrong(service.name, said, f"see {home()}/logs/{service.name}.log; then: vidclf up"))
    return found


def prefect() -> Finding:
    """Prefect's API, and whether it is of this version."""
    api = _named("PREFECT_API_URL")
    if api is None:
        return ok("prefect api", "none named: `vidclf run` starts one of its own")
    try:
        version = str(read_json(f"{api.rstrip('/')}/admin/version"))
    except Unanswered as error:
        return wrong("prefect api", f"{api} {error}", "vidclf up, or unset PREFECT_API_URL")
    mine = metadata.version("prefect")
    if version.split(".")[:2] != mine.split(".")[:2]:
        return wrong("prefect api", f"{api} is Prefect {version}, and here is {mine}", "install the server's version")
    return ok("prefect api", f"{api}, {version}")


def mlflow() -> Finding:
    """MLflow's server, or the database in the home."""
    uri = _named("MLFLOW_TRACKING_URI")
    if uri is None:
        return _database("mlflow", home() / "mlflow.db")
    if uri.startswith("sqlite:///"):
        return _database("mlflow", Path(uri.removeprefix("sqlite:///")))
    if not uri.startswith(("http://", "https://")):
        return ok("mlflow", uri.rpartition("@")[2])
    try:
        version = require_answer(f"{uri.rstrip('/')}/version").decode(errors="replace")
    except Unanswered as error:
        return wrong("mlflow", f"{uri} {error}", "vidclf up, or let MLFLOW_TRACKING_URI name another")
    return ok("mlflow", f"{uri}, {version}")


def store_of(uri: str) -> Finding:
    """Whether datasets can be written there: a small file is, and is deleted again."""
    if "://" not in uri:
        return _folder(Path(uri).absolute())
    from vidclf.storage import Store

    try:
        Store(uri).check_writable()
    except StorageError as error:
        said = " ".join(str(error).split())
        remedy = next((remedy for sign, remedy in STORE_REMEDIES.items() if sign.lower() in said.lower()), "")
        where = os.environ.get("AWS_ENDPOINT_URL", "AWS") if uri.startswith("s3") else uri
        return wrong("store", said, remedy or f"see that {where} is reachable, the bucket there, and its keys set")
    return ok("store", f"{uri}: written, read and deleted")


def _folder(folder: Path) -> Finding:
    """A folder that is not there yet is not made: that it could be is enough."""
    place = existing(folder)
    if trouble := unwritable(place):
        return wrong("store", trouble, "see its rights, or name another store")
    return ok("store", f"{folder}{'' if place == folder else ', to be made'}")


def _database(name: str, path: Path) -> Finding:
    if not path.exists():
        return ok(name, f"{path}, to be made")
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)) as database:
            database.execute("SELECT count(*) FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        return wrong(name, f"{path}: {error}", "move the file away; a new one is made, without the old runs")
    return ok(name, str(path))


def _named(variable: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """What the environment names, or the running stack."""
    return environment.get(variable) or running_stack().get(variable)
