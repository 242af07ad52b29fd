"""prefect.yaml, as the command line reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.catalogue import CONFIGURATIONS, find_job, merged, parse_setting, read_deployments
from vidclf.config import CompareConfig, IngestConfig, RetrainConfig, parse
from vidclf.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_deployments_parameters_are_a_valid_configuration() -> None:
    deployments = read_deployments(ROOT / "prefect.yaml")
    wanted = {
        f"ingest/{name}" for name in ("demo", "kinetics-dancing", "kinetics-700", "ucf-sports", "hmdb51", "folder")
    }
    wanted |= {"train/demo", "compare/demo", "train/kinetics-dancing"}
    wanted |= {"compare/kinetics-dancing", "compare/hmdb51", "evaluate/kinetics-i3d", "evaluate/demo"}
    wanted |= {"retrain/demo", "retrain/kinetics-dancing"}
    assert wanted <= set(deployments)
    for name, (flow, parameters) in deployments.items():
        parse(CONFIGURATIONS[flow], parameters, name)


def test_a_first_try_with_kinetics_700_makes_a_dataset_for_all_of_it() -> None:
    config = find_job("ingest/kinetics-700", settings=["annotations.limit=50"]).config
    assert isinstance(config, IngestConfig)
    assert config.execution.num_shards == 644  # of the 644 thousand annotations of Kinetics-700-2020


def test_a_training_of_the_comparison_is_the_one_that_train_demo_does() -> None:
    compared = find_job("compare/demo").config.trainings()  # type: ignore[attr-defined]
    alone = find_job("train/demo").config
    assert compared[alone.model] == alone  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["demo", "kinetics-dancing"])
def test_a_retraining_does_what_the_deployments_of_its_steps_do(name: str) -> None:
    config, ingest, training = (find_job(f"{flow}/{name}").config for flow in ("retrain", "ingest", "train"))
    assert isinstance(config, RetrainConfig)
    assert parse(IngestConfig, config.ingest_settings() or {}) == ingest
    assert config.train_config("latest") == training


def test_an_approach_of_a_deployment_can_be_left_out_and_a_trained_model_put_beside_the_others() -> None:
    settings = ["approaches.x3d_xs=null", "approaches.mine={uri: models/mine}"]
    config = find_job("compare/kinetics-dancing", settings=settings).config
    assert isinstance(config, CompareConfig)
    assert set(config.trainings()) == {"cnn_rnn", "frames_averaged"}
    assert config.trained() == {"mine": "models/mine"}
    with pytest.raises(ConfigError, match=r"'approaches.mine' has a uri: it is trained, and takes nothing else"):
        find_job("compare/kinetics-dancing", settings=["approaches.mine={uri: models/mine, model: x3d_xs}"])


def test_one_setting_replaces_one_value_and_a_file_a_group(tmp_path: Path) -> None:
    changes = tmp_path / "mine.yaml"
    changes.write_text("annotations: {path: mine.csv}\nsources: [{kind: folder, path: videos}]\n")
    config = find_job("ingest/demo", changes, ["clips.short_side=128", "dataset=mine"]).config
    assert isinstance(config, IngestConfig)
    assert (config.dataset, config.clips.short_side, config.annotations.path) == ("mine", 128, "mine.csv")
    assert config.annotations.label_contains == "dancing"
    assert [source.kind for source in config.sources] == ["folder"]


def test_merging_changes_neither_side() -> None:
    base, changes = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}
    assert merged(base, changes) == {"a": {"b": 3, "c": 2}}
    assert base == {"a": {"b": 1, "c": 2}}


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["dataset=a/b"], r"setting .dataset. is .a/b.: only letters, digits"),
        (["clips.colour=red"], r"setting 'clips.colour' does not exist; there are: .*short_side"),
        (["clips.short_side=many"], r"setting 'clips.short_side' is 'many'"),
        (["nonsense"], r"--set 'nonsense': expected key=value"),
        (["sources=[{kind: ftp}]"], r"source kind 'ftp' is unknown"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(settings: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        find_job("ingest/demo", settings=settings)
    assert "\n" not in str(caught.value)


def test_an_unknown_model_and_an_unknown_deployment_are_named() -> None:
    with pytest.raises(ConfigError, match=r"model 'resnet' is unknown; there are: .*cnn_lstm, .*frame_cnn, .*x3d_xs"):
        find_job("train/demo", settings=["model=resnet"])
    with pytest.raises(ConfigError, match=r"there is no deployment 'train/nothing'; there are: compare/demo"):
        find_job("train/nothing")


def test_without_a_prefect_yaml_the_user_is_told_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="run this in the project's folder"):
        find_job("ingest/demo")


def test_a_setting_is_read_as_yaml() -> None:
    assert parse_setting("a.b=[1, x]") == {"a": {"b": [1, "x"]}}
    assert parse_setting("a=") == {"a": None}
