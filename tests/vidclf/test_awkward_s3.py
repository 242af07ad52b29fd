"""Compare-and-swap and the lease hold on stores that answer otherwise than AWS, and where answers are lost."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator

import pytest

from tests.vidclf.awkward_s3 import AwkwardS3
from tests.vidclf.test_storage import use_s3
from vidclf import lease
from vidclf.lease import LEASE_PATH, hold
from vidclf.storage import Store


@pytest.fixture(scope="module")
def server() -> Iterator[AwkwardS3]:
    with AwkwardS3() as running:
        yield running


@pytest.fixture
def store(server: AwkwardS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    import boto3

    use_s3(monkeypatch, server.url)
    bucket = f"b-{uuid.uuid4().hex}"
    boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket=bucket)
    server.writes.clear()
    yield Store(f"s3://{bucket}/prefix")
    server.always = ""
    server.next_write.clear()


def one_after_the_other(store: Store) -> None:
    assert store.create("x.json", b"1")
    assert not store.create("x.json", b"other")
    found = store.read_versioned("x.json")
    assert found is not None
    assert store.replace("x.json", b"2", found[1])
    assert not store.replace("x.json", b"3", found[1])
    assert not store.replace("nowhere.json", b"3", found[1])
    assert store.read_bytes("x.json") == b"2"


def test_a_refusal_that_says_nothing_but_412_is_understood(store: Store, server: AwkwardS3) -> None:
    server.always = "terse"
    one_after_the_other(store)


def test_a_conflict_of_two_writes_is_tried_again(store: Store, server: AwkwardS3) -> None:
    server.next_write = ["conflict", "conflict", "", "", "conflict"]
    one_after_the_other(store)
    assert server.writes.count("conflict") == 3


def test_a_store_without_conditional_writes_is_used_all_the_same_and_said_once(
    store: Store, server: AwkwardS3, caplog: pytest.LogCaptureFixture
) -> None:
    server.always = "unknown"
    with caplog.at_level(logging.WARNING, "vidclf.storage"):
        one_after_the_other(store)
        with hold(store, "run"):
            pass
    assert [record.message for record in caplog.records if "conditional writes" in record.message] == [
        f"s3://{store.root.partition('/')[0]} at {server.url} does not offer conditional writes: "
        "of two that write in the same moment both may win"
    ]


def test_a_write_whose_answer_was_lost_is_ours(store: Store, server: AwkwardS3) -> None:
    server.next_write = ["lost", "", "", "lost"]
    one_after_the_other(store)
    assert server.writes[0] == "lost"


@pytest.mark.thorough
def test_a_lease_is_taken_and_renewed_though_answers_are_lost(
    store: Store, server: AwkwardS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 3600.0)
    server.next_write = ["lost"]
    with hold(store, "run") as held:
        server.next_write = ["lost"]
        assert held._renew()
        store.write_bytes(LEASE_PATH, held._content())  # of a write that was thought to have failed
        assert held._renew()
        held.check()
        assert json.loads(store.read_bytes(LEASE_PATH))["run_id"] == "run"
    assert server.writes.count("lost") == 2
    assert not store.exists(LEASE_PATH)
