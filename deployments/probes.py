"""What the stack asks of its servers, over HTTP: whether they work, and which flow runs are left over."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 5.0

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy between us and this machine


def listens(port: int) -> bool:
    """Whether somebody takes connections on this port of the loopback interface."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=TIMEOUT_SECONDS):
        return True
    return False


def answers(url: str) -> bool:
    """Whether a GET of ``url`` is answered with 200."""
    with suppress(OSError), _opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
        return bool(answer.status == 200)
    return False


def worker_is_online(api: str, name: str, since: datetime) -> bool:
    """Whether the worker of this name, in the work pool of the same name, has been heard of since then."""
    try:
        workers = _post(f"{api}/work_pools/{name}/workers/filter", {})
    except (OSError, ValueError):
        return False
    return any(
        found["name"] == name
        and found["status"] == "ONLINE"
        and datetime.fromisoformat(found["last_heartbeat_time"]) >= since
        for found in workers
    )


def close_orphaned_runs(
    api: str,
    pool: str,
    alive: Callable[[], Collection[str]] = tuple,
    states: Sequence[str] = ("RUNNING", "PENDING", "CANCELLING"),
) -> None:
    """Let the server know that the flow runs of a work pool, whose processes are gone, do not run any more.

    A flow run that was killed cannot say so itself: it would be shown as running, and count against its deployment's
    concurrency limit, for good.

    Args:
        alive: ids of the flow runs that have a process now.
        states: of the flow runs that are looked at.
    """
    with suppress(OSError):  # the server is gone too: the next look, or the next `up`, comes here again
        unfinished = {"state": {"type": {"any_": list(states)}}}
        asked = {"flow_runs": unfinished, "work_pools": {"name": {"any_": [pool]}}}
        runs = {run["id"] for run in _post(f"{api}/flow_runs/filter", asked)}
        orphans = runs - set(alive())
        # once more, since some may have ended in this moment, well and by themselves
        for run in _post(f"{api}/flow_runs/filter", asked) if orphans else ():
            if run["id"] in orphans:
                _close(api, run["id"])
                inner = {"flow_runs": {**unfinished, "parent_flow_run_id": {"any_": [run["id"]]}}}
                for child in _post(f"{api}/flow_runs/filter", inner):  # in the same process, and in no pool
                    _close(api, child["id"])


def _close(api: str, run_id: str) -> None:
    state = {"type": "CRASHED", "message": "its process is gone: the local stack was ended, or it was killed"}
    _post(f"{api}/flow_runs/{run_id}/set_state", {"state": state, "force": True})


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with _opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
        return json.load(answer)
