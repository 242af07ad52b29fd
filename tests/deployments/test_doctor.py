"""What ``vidclf doctor`` finds, and what it says to do. What is wrong is really wrong: a taken port, a dead server, a bucket
that is not there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from deployments.commands import doctor
from deployments.doctor import Finding, State, all_checks, diagnose, servers
from deployments.doctor import machine as machine_checks
from deployments.doctor import software as software_checks
from deployments.doctor.finding import ok


@pytest.fixture(autouse=True)
def own_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT", "MLFLOW", "RAY", "RAY_METRICS"):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            monkeypatch.setenv(f"VIDCLF_{name}_PORT", str(probe.getsockname()[1]))


@pytest.fixture
def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_machine_that_is_well_has_nothing_wrong_and_is_left_as_it_was(own_home: Path) -> None:
    said = CliRunner().invoke(doctor)
    assert said.exit_code == 0, said.output
    assert "wrong" not in said.stdout
    for name in ("python", "packages", "ffmpeg", "pyav", "room in home", "memory", "ports", "prefect api", "store"):
        assert name in said.stdout
    assert not own_home.exists()
    as_json = json.loads(CliRunner().invoke(doctor, ["--json"]).stdout)
    assert {"name", "state", "found", "remedy"} == set(as_json[0])
    assert all(one["remedy"] for one in as_json if one["state"] != "ok")


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys; from deployments.doctor import all_checks, diagnose; list(diagnose(all_checks()))\n"
        "print([name for name in ('prefect', 'ray', 'mlflow', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_taken_port_is_named_with_its_owner_and_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("VIDCLF_MLFLOW_PORT", str(port))
        found = servers.ports()
    assert found.state is State.WRONG
    assert f"{port} is taken" in found.found
    assert "VIDCLF_MLFLOW_PORT" in found.remedy
    monkeypatch.setenv("VIDCLF_MLFLOW_PORT", "five thousand")
    assert servers.ports().found == "VIDCLF_MLFLOW_PORT is 'five thousand'"


def test_servers_that_are_down_are_wrong_and_the_exit_status_says_so(
    nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{nobody}/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
    said = CliRunner().invoke(doctor)
    assert said.exit_code == 1
    assert f"{nobody}/api does not answer (Connection refused)" in said.stdout
    assert f"{nobody} does not answer (Connection refused)" in said.stdout
    assert said.stdout.count("→ vidclf up") == 2


def test_a_database_that_is_none_is_wrong(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "mlflow.db").write_text("no database at all, but long enough to be taken for one " * 50)
    found = servers.mlflow()
    assert (found.state, "file is not a database" in found.found) == (State.WRONG, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_store_without_rights_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert servers.store_of(str(tmp_path / "locked/store")).state is State.WRONG


def test_a_full_home_is_wrong(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDCLF_HOME", "/proc/vidclf")  # where nobody can write
    found = machine_checks.home_room()
    assert found.state is State.WRONG
    assert "/proc cannot be written" in found.found
    assert "$VIDCLF_HOME" in found.remedy


def test_a_deep_temporary_folder_leaves_no_room_for_rays_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 80)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    found = machine_checks.ray_sockets()
    assert found.state is State.WRONG
    assert "TMPDIR" in found.remedy


def test_an_ffmpeg_that_does_not_run_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software_checks, "executable", lambda: "/no/such/ffmpeg")
    found = software_checks.ffmpeg()
    assert found.state is State.WRONG
    assert "IMAGEIO_FFMPEG_EXE" in found.remedy


@pytest.mark.thorough
def test_a_bucket_is_written_and_what_is_wrong_with_it_has_a_remedy(bucket: str, nobody: str) -> None:
    import boto3

    assert servers.store_of(bucket).state is State.OK
    assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="vidclf-test")  # nothing is left there
    missing = servers.store_of("s3://no-such-bucket/prefix")
    assert (missing.state, missing.remedy) == (State.WRONG, "make the bucket, or name another")
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    nowhere = {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_CONFIG_FILE": os.devnull}
    without_keys = {name: value for name, value in os.environ.items() if name not in keys}
    assert "AWS_ACCESS_KEY_ID" in remedy(bucket, {**without_keys, **nowhere, "AWS_EC2_METADATA_DISABLED": "true"})
    assert "AWS_ENDPOINT_URL" in remedy(bucket, {**os.environ, "AWS_ENDPOINT_URL": nobody})


def remedy(store: str, environment: dict[str, str]) -> str:
    """For what is wrong with a store, in a process of its own: connections are shared within one."""
    script = "import sys; from deployments.commands import doctor; doctor(['--json', '--store', sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", script, store], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    (wrong,) = [one for one in json.loads(done.stdout) if one["state"] == "wrong"]
    assert wrong["name"] == "store"
    return str(wrong["remedy"])


def slow() -> Finding:
    time.sleep(60)
    return ok("slow", "")


def broken() -> Finding:
    raise KeyError("x")


def test_a_check_that_hangs_or_fails_is_a_finding_and_holds_nobody_up() -> None:
    hung, failed, well = diagnose([slow, broken, lambda: ok("well", "")], seconds=0.3)
    assert (hung.name, hung.state) == ("slow", State.WRONG)
    assert "KeyError" in failed.found
    assert well.state is State.OK


def test_hosts_on_the_internet_are_asked_only_when_wanted() -> None:
    assert software_checks.online not in all_checks()
    assert software_checks.online in all_checks(with_network=True)
