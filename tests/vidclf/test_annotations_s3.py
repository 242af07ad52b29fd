"""Annotation lists in a bucket are read as those in a folder are."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import boto3
import pytest

from vidclf.annotations import read_annotations
from vidclf.config import AnnotationsConfig
from vidclf.errors import AnnotationError

OBJECTS = {
    "videos/train/walk/1.mp4": b"",
    "videos/val/walk/deep/2.avi": b"",
    "kinetics.csv.gz": gzip.compress(b"label,youtube_id,time_start,time_end,split\nyoga,a,1,2,train\n"),
    "kinetics.json": b'{"a": {"annotations": {"label": "yoga", "segment": [1, 2]}, "subset": "train"}}',
    "lists/train.csv": b"a.mp4 0\n",
    "lists/classes.txt": b"yoga\n",
    "ucf101/trainlist01.txt": b"Archery/v_Archery_g08_c01.avi 1\n",
    "hmdb51/wave_test_split1.txt": b"a.avi 1\nb.avi 0\n",
    "empty.csv": b"",
}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            environment.setenv(name, value)
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="lists")
        for key, data in OBJECTS.items():
            client.put_object(Bucket="lists", Key=key, Body=data)
        client.close()
        yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("videos", [("train/walk/1.mp4", "walk", "train"), ("val/walk/deep/2.avi", "walk", "val")]),
        ("kinetics.csv.gz", [("a", "yoga", "train")]),
        ("kinetics.json", [("a", "yoga", "train")]),
        ("lists", [("a.mp4", "yoga", "train")]),
        ("lists/train.csv", [("a.mp4", "yoga", "train")]),
        ("ucf101/", [("Archery/v_Archery_g08_c01.avi", "Archery", "train")]),
        ("hmdb51", [("wave/a.avi", "wave", "train")]),
    ],
)
def test_every_layout_is_read_from_a_bucket(
    bucket: str, monkeypatch: pytest.MonkeyPatch, path: str, expected: list[tuple[str, str, str]]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    rows = read_annotations(AnnotationsConfig(path=f"s3://lists/{path}")).rows.to_pylist()
    assert [(row["source_id"], row["label"], row["split"]) for row in rows] == expected


def test_what_is_no_list_in_a_bucket_is_said(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    with pytest.raises(AnnotationError, match="it is empty"):
        read_annotations(AnnotationsConfig(path="s3://lists/empty.csv"))
    with pytest.raises(AnnotationError, match="no such file or folder"):
        read_annotations(AnnotationsConfig(path="s3://lists/nothing.csv"))
