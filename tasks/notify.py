"""Who is told when a flow run fails: whoever ``$VIDCLF_NOTIFY_URL`` names, one or several addresses in apprise's form.

``jsons://host/path`` posts JSON, ``slack://…``, ``mailto://…`` and a hundred others do what they say. The addresses hold
tokens: they come from the environment alone, and no message repeats them.
"""

from __future__ import annotations

import os
import re
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger

from vidclf.redaction import scrubbed

VARIABLE = "VIDCLF_NOTIFY_URL"
LONGEST_MESSAGE = 1500  # characters
SECRET_NAME = re.compile(r"(?i)secret|token|passw|_key|auth|notify_url")
SHORTEST_SECRET = 6  # a shorter value would blank half of every message


def tell_of_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A hook for ``on_failure`` and ``on_crashed``. A notification that fails is logged, and changes nothing."""
    addresses = os.environ.get(VARIABLE, "").split()
    if not addresses or flow_run.parent_task_run_id is not None:  # a flow inside another, which tells of it
        return
    from apprise import Apprise

    log = flow_run_logger(flow_run, flow)
    told = Apprise()
    if not all([told.add(address) for address in addresses]):
        log.warning("$%s holds an address that apprise does not understand; the others are told", VARIABLE)
    what = f"{flow_run.name}: {(state.name or state.type.value).lower()}"
    message = " ".join(_without_secrets(state.message or "").split())[:LONGEST_MESSAGE] or "no message"
    if len(told) and not told.notify(title=what, body=f"{message}\nflow run {flow_run.id}"):
        log.warning("not everybody whom $%s names could be told of the failure", VARIABLE)


def _without_secrets(text: str) -> str:
    """``text`` without the passwords of addresses, and without what the environment holds under a name that says secret."""
    for name, value in os.environ.items():
        if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET:
            text = text.replace(value, "***")
    return scrubbed(text)
