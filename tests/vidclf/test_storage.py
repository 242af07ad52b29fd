"""The store keeps its promises in a folder and on S3."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidclf.errors import StorageError
from vidclf.storage import Store


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """A real S3 server over HTTP, on a port of its own."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "folder":
        return Store(tmp_path / "store")
    use_s3(monkeypatch, request.getfixturevalue("s3_endpoint"))
    import boto3

    bucket = f"b-{abs(hash(request.node.name)) % 10**9}"
    boto3.client("s3", endpoint_url=request.getfixturevalue("s3_endpoint")).create_bucket(Bucket=bucket)
    return Store(f"s3://{bucket}/prefix")


def use_s3(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)


@pytest.mark.thorough
def test_what_is_written_is_read(store: Store, tmp_path: Path) -> None:
    store.write_bytes("a/b.bin", b"one")
    local = tmp_path / "file"
    local.write_bytes(b"two")
    store.put_file(local, "a/c.bin")
    assert (store.read_bytes("a/b.bin"), store.read_bytes("a/c.bin")) == (b"one", b"two")
    assert not local.exists()
    assert store.files("a") == ["a/b.bin", "a/c.bin"]
    assert store.files("nowhere") == []
    assert store.exists("a/b.bin")
    store.delete("a/b.bin")
    store.delete("a/b.bin")
    assert not store.exists("a/b.bin")


def test_create_lets_one_writer_win(store: Store) -> None:
    assert store.create("x.json", b"first")
    assert not store.create("x.json", b"second")
    assert store.read_bytes("x.json") == b"first"


def test_replace_refuses_what_changed_since_it_was_read(store: Store) -> None:
    assert store.read_versioned("x.json") is None
    assert store.replace("x.json", b"1", None)
    assert not store.replace("x.json", b"other", None)
    found = store.read_versioned("x.json")
    assert found is not None
    assert store.replace("x.json", b"2", found[1])
    assert not store.replace("x.json", b"3", found[1])
    assert store.read_bytes("x.json") == b"2"


def test_a_store_that_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"file cannot be written: (File exists|Not a directory)"):
        Store(tmp_path / "file").check_writable()


@pytest.mark.thorough
def test_a_dead_s3_endpoint_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    use_s3(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"s3://bucket cannot be written: .*127\.0\.0\.1:9"):
        Store("s3://bucket").check_writable()


def test_no_reader_ever_sees_half_a_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    contents = {bytes([letter]) * 1_000_000 for letter in b"ab"}
    store.write_bytes("x", b"a" * 1_000_000)
    writer = multiprocessing.get_context("spawn").Process(target=_write_often, args=(str(tmp_path),))
    writer.start()
    while writer.is_alive():
        assert store.read_bytes("x") in contents
    assert writer.exitcode == 0


def _write_often(folder: str) -> None:
    for number in range(60):
        Store(folder).write_bytes("x", b"ab"[number % 2 :][:1] * 1_000_000)
