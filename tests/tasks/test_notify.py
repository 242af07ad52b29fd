"""Who is told of a failure, and what is not told: secrets. The mailbox is a real HTTP server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Crashed, Failed

from flows.compare import compare
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.train import train
from tasks.notify import LONGEST_MESSAGE, tell_of_failure
from tests.mailbox import Mailbox, open_mailbox

pytestmark = pytest.mark.filterwarnings("default")  # apprise has some of its own


@pytest.fixture(autouse=True)
def without_a_server() -> Iterator[None]:
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with open_mailbox() as box:
        monkeypatch.setenv("VIDCLF_NOTIFY_URL", f"json://127.0.0.1:{box.server_port}/a-secret-path")
        yield box


def tell(message: str, state: Any = Failed, parent: UUID | None = None) -> FlowRun:
    run = FlowRun(flow_id=uuid4(), name="train cnn_lstm on dancing-demo", parent_task_run_id=parent)
    tell_of_failure(train, run, state(message=message))
    return run


@pytest.mark.parametrize("flow", [ingest, train, evaluate, compare], ids=lambda flow: flow.name)
def test_every_flow_tells_of_failures_and_crashes(flow: Any) -> None:
    assert tell_of_failure in flow.on_failure_hooks
    assert tell_of_failure in flow.on_crashed_hooks


def test_a_failure_is_told_with_its_run_and_its_cause(mailbox: Mailbox) -> None:
    run = tell("TrackingError: MLflow does not answer")
    (letter,) = mailbox.letters
    assert letter["title"] == "train cnn_lstm on dancing-demo: failed"
    assert letter["message"] == f"TrackingError: MLflow does not answer\nflow run {run.id}"
    tell("its process is gone", Crashed)
    assert mailbox.letters[-1]["title"].endswith(": crashed")
    tell("of a flow inside another", parent=uuid4())  # which tells of it
    assert len(mailbox.letters) == 2


def test_no_secret_is_told(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    monkeypatch.setenv("VIDCLF_PROXY", "http://me:swordfish@proxy:3128")
    tell(
        "key hunter2hunter2, proxy swordfish, s3://u:word1234@host/x?X-Amz-Signature=abcdef, "
        f"to json://127.0.0.1:{mailbox.server_port}/a-secret-path " + "long " * 1000
    )
    (letter,) = mailbox.letters
    told = json.dumps(letter)
    for secret in ("hunter2", "swordfish", "word1234", "abcdef", "a-secret-path"):
        assert secret not in told
    assert len(letter["message"]) < LONGEST_MESSAGE + 100


@pytest.mark.parametrize("address", ["json://127.0.0.1:9/a-secret-path", "nonsense"])
def test_a_notification_that_fails_is_logged_and_changes_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VIDCLF_NOTIFY_URL", address)
    logger = logging.getLogger("prefect.flow_runs")
    logger.addHandler(caplog.handler)
    try:
        tell("it failed")
    finally:
        logger.removeHandler(caplog.handler)
    said = [record.getMessage() for record in caplog.records if record.name == "prefect.flow_runs"]
    assert any("$VIDCLF_NOTIFY_URL" in line for line in said)
    assert not any("a-secret-path" in line for line in said)


def test_where_nobody_is_named_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDCLF_NOTIFY_URL", raising=False)
    tell("it failed")
