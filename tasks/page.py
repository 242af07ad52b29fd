"""One page per flow run: what it came to, and where everything is. A Prefect artifact with the key ``run``.

Addresses of servers are links. Files and buckets are shown as they are called, since browsers follow no such links from a page.
"""

from __future__ import annotations

from collections.abc import Mapping

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from vidclf import tracking
from vidclf.snapshot import report_of
from vidclf.storage import Store

KEY = "run"


def show_run(came_to: str, places: Mapping[str, str | None]) -> None:
    """Write the page of this flow run.

    Args:
        came_to: a sentence.
        places: name → address, in the order in which they are shown; None: there is none.
    """
    rows = [f"| {name} | {_shown(place)} |" for name, place in places.items() if place]
    logs = f"| logs | [of this run](/runs/flow-run/{flow_run.id}?tab=Logs) |"
    lines = [f"# {flow_run.name}", "", came_to, "", "| | |", "|---|---|", *rows, logs]
    create_markdown_artifact(key=KEY, markdown="\n".join(lines), description=came_to)


def places_of_data(data: Store, snapshot_id: str) -> dict[str, str | None]:
    """Where a dataset, its snapshot and that one's report are."""
    report = report_of(data, snapshot_id)
    return {
        "dataset": data.uri,
        "snapshot": f"{data.uri}/snapshots/{snapshot_id}",
        "dataset report": f"{data.uri}/{report}" if report else None,
    }


def places_of_run(run_id: str) -> dict[str, str | None]:
    """Where MLflow shows a run and its model."""
    found = tracking.pages(run_id)
    return {"MLflow run": found.run, "MLflow experiment": found.experiment, "MLflow model": found.model}


def _shown(place: str) -> str:
    return f"[{place}]({place})" if place.startswith(("http://", "https://")) else f"`{place}`"
