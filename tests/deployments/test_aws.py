"""ray-up.yaml, by what `ray up` does before it starts machines, against AWS's interfaces as moto serves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deployments.infrastructure import everywhere, ray_up


@pytest.mark.thorough
def test_ray_up_takes_it_finds_the_resources_of_its_machines_and_installs_nothing(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.autoscaler._private.commands import _bootstrap_config

    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("x")
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    prepared = _bootstrap_config(ray_up(), no_config_cache=True)  # once in a process: it keeps its connections
    resources = {name: node["resources"] for name, node in prepared["available_node_types"].items()}
    assert resources["head"]["CPU"] == 0
    assert "GPU" not in resources["cpu_spot"]
    assert resources["gpu_spot"]["GPU"] == 1
    assert all(node["node_config"]["ImageId"].startswith("ami-") for node in prepared["available_node_types"].values())
    for commands in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert prepared[commands] == []  # left out, these have defaults, which install another Ray


def test_a_mistake_in_it_would_be_found() -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(ValidationError, match="idle_timeout"):
        validate_config(prepare_config({**ray_up(), "idle_timeout": 5}))


def test_workers_are_spot_machines_that_go_when_there_is_no_work() -> None:
    config = ray_up()
    workers = {name: node for name, node in config["available_node_types"].items() if name != config["head_node_type"]}
    assert all(node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"} for node in workers.values())
    assert all(node["min_workers"] == 0 for node in workers.values())
    assert config["idle_timeout_minutes"] <= 10
    assert config["provider"]["cache_stopped_nodes"] is False


def test_machines_have_a_role_and_no_keys() -> None:
    config = ray_up()
    nodes = [node["node_config"] for node in config["available_node_types"].values()]
    assert all(node["IamInstanceProfile"] == {"Name": "vidclf"} for node in nodes)
    assert not [option for option in config["docker"]["run_options"] if "KEY" in option or "TOKEN=" in option]
    assert list(everywhere(config, "MetadataOptions")) == [{"HttpTokens": "required", "HttpPutResponseHopLimit": 2}] * 3
