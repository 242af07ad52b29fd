"""Where things lie when nobody says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidclf.home import default_store


def test_runs_that_name_no_store_use_that_of_the_environment(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_store() == str(own_home / "store")
    monkeypatch.setenv("VIDCLF_STORE", "s3://bucket/prefix")
    assert default_store() == "s3://bucket/prefix"
