"""Make the bucket of a store, where there is none: ``python -m deployments.bucket s3://vidclf``."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import boto3

from vidclf.errors import ConfigError, VidclfError


def make_bucket(uri: str) -> None:
    """Make the bucket that ``s3://bucket/…`` lies in, unless it is there, with the standard AWS variables.

    Raises:
        ConfigError: it is no address of S3.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigError(f"{uri!r} is no bucket; expected s3://bucket or s3://bucket/prefix")
    client = boto3.client("s3")
    if parts.netloc in (bucket["Name"] for bucket in client.list_buckets()["Buckets"]):
        return
    region = client.meta.region_name
    elsewhere = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    client.create_bucket(Bucket=parts.netloc, **elsewhere)


if __name__ == "__main__":
    try:
        make_bucket(sys.argv[1])
    except VidclfError as error:
        sys.exit(f"vidclf: {error}")
