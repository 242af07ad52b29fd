"""What workers elsewhere are told: addresses, nothing secret. Ray writes it into its logs."""

from __future__ import annotations

import pytest

from tasks.cluster import forwarded
from vidclf.errors import ConfigError


def test_no_secret_is_forwarded() -> None:
    secrets = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "c",
        "MLFLOW_TRACKING_PASSWORD": "d",
        "MLFLOW_TRACKING_TOKEN": "e",
        "VIDCLF_PROXY": "http://user:word@proxy",
        "VIDCLF_COOKIES": "/home/me/cookies.txt",
    }
    addresses = {"AWS_ENDPOINT_URL": "http://store:9000", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}
    assert forwarded(secrets | addresses | {"PATH": "/bin"}) == addresses


def test_an_address_with_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match=r"\$MLFLOW_TRACKING_URI carries a password") as raised:
        forwarded({"MLFLOW_TRACKING_URI": "http://me:hunter2@mlflow:5000"})
    assert "hunter2" not in str(raised.value)
