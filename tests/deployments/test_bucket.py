"""The bucket of a store, on a real S3 server."""

from __future__ import annotations

import boto3
import pytest

from deployments.bucket import make_bucket
from vidclf.errors import ConfigError
from vidclf.storage import Store


def test_a_bucket_is_made_once_and_can_be_written_to(bucket: str) -> None:
    make_bucket("s3://new-one/some/prefix")
    Store("s3://new-one/some/prefix").check_writable()
    boto3.client("s3").put_object(Bucket="new-one", Key="kept", Body=b"x")
    make_bucket("s3://new-one")
    assert boto3.client("s3").get_object(Bucket="new-one", Key="kept")["Body"].read() == b"x"


def test_a_bucket_is_made_in_its_region(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    make_bucket("s3://elsewhere")
    assert boto3.client("s3").get_bucket_location(Bucket="elsewhere")["LocationConstraint"] == "eu-central-1"


@pytest.mark.parametrize("uri", ["vidclf", "/tmp/vidclf", "https://vidclf", "s3://"])
def test_what_is_no_bucket_is_said(uri: str) -> None:
    with pytest.raises(ConfigError, match="is no bucket; expected s3://bucket"):
        make_bucket(uri)
