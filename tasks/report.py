"""Report: what became of the clips, for people: a page beside the run's other files, and its short version in Prefect."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.run import IngestRun
from tasks.watch import artifact_key
from vidclf.report import read_accounts, summary_markdown, write_report
from vidclf.snapshot import Snapshot


@task(name="report", cache_policy=NO_CACHE)
def report_on(run: IngestRun, snapshot: Snapshot) -> None:
    """Write ``runs/{run_id}/report.html``, unless the configuration wants none, and the artifact."""
    config = run.config.report
    accounts = read_accounts(run.store, snapshot)
    text = summary_markdown(snapshot, accounts)
    if config.write:
        page = write_report(
            run.store,
            snapshot,
            notices=run.plan.notices,
            clips_per_class=config.clips_per_class,
            max_bytes=round(config.max_mb * 1e6),
            accounts=accounts,
        )
        path = f"runs/{run.run_id}/report.html"
        run.store.write_bytes(path, page)
        text += f"\n\nTo look at: `{run.store.uri}/{path}`\n"
        get_run_logger().info("report: %s/%s", run.store.uri, path)
    create_markdown_artifact(key=artifact_key("ingest", run.config.dataset), markdown=text)
