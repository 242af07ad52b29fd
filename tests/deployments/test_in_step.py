"""What the files of deployments/ name, the programs know: commands, options, variables, versions, one image."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest

from flows.catalogue import find_job, read_deployments
from tasks.cluster import FORWARDED
from tests.deployments.infrastructure import (
    FOLDER,
    ROOT,
    compose,
    constraints,
    everywhere,
    flow_run,
    instructions,
    kubernetes,
    project,
    ray_job,
    ray_up,
    secrets,
    words,
)
from vidclf.home import QUIET_LIBRARIES

IMAGE = f"vidclf:{project()['version']}"
SYSTEM = {"sh", "sed"}
POSTGRES = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}  # of its image's documentation


def services() -> dict[str, dict[str, Any]]:
    """The services of compose.yaml that run our image."""
    return {name: one for name, one in compose(secrets())["services"].items() if one["image"].startswith("vidclf:")}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where it stands, and a simple command that is run in our image."""
    for name, service in services().items():
        yield from ((f"compose {name}", simple) for simple in words(service["command"]))
        if check := service.get("healthcheck"):
            yield f"compose {name}, health", check["test"][1:]
    for one in kubernetes():
        for container in (c for key in ("containers", "initContainers") for cs in everywhere(one, key) for c in cs):
            whole = [*container.get("command", []), *container.get("args", [])]
            yield from ((f"kubernetes {container['name']}", simple) for simple in words(whole) if simple)
    yield "kubernetes ray-job", words(ray_job()["spec"]["entrypoint"])[0]
    for kind in ("head_start_ray_commands", "worker_start_ray_commands"):
        yield from ((f"aws {kind}", simple) for line in ray_up()[kind] for simple in words(line))
    for line in (FOLDER / "image/join-ray").read_text().splitlines():
        if line.startswith("ray "):
            yield "join-ray", words(line)[0]
    for comment in re.findall(r"ray exec \S+ '(.+)'", (FOLDER / "aws/ray-up.yaml").read_text()):
        yield "aws, as it says", words(comment)[0]


def parse(program: str, arguments: list[str]) -> None:
    """Have a program's own parser take the arguments, and run nothing.

    Raises:
        Exception: it does not know them.
    """
    if program == "python":
        module = arguments[arguments.index("-m") + 1] if "-m" in arguments else None
        assert module is None or importlib.util.find_spec(module), f"there is no module {module}"
    elif program == "prefect":
        from prefect.cli._app import _app

        _app.parse_args([word for word in arguments if word != "--no-prompt"], exit_on_error=False, print_error=False)
    elif program not in SYSTEM:
        (entry, *_) = entry_points(group="console_scripts", name=program)
        command: Any = {"ray": "ray.scripts.scripts:cli"}.get(program, entry.value)
        module, _, name = command.partition(":")
        parse_click(program, getattr(importlib.import_module(module), name), arguments)


def parse_click(name: str, command: click.Command, arguments: list[str]) -> None:
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        command.parse_args(context, arguments)
        called, subcommand, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert subcommand is not None
        parse_click(str(called), subcommand, rest)
    else:
        command.parse_args(context, arguments)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")  # Prefect, Ray and MLflow have some of their own when they are imported
def test_every_command_is_one_that_its_program_knows() -> None:
    where = list(commands())
    assert {simple[0] for _, simple in where} >= {"prefect", "mlflow", "ray", "vidclf", "python"}
    for place, (program, *arguments) in where:
        try:
            parse(program, arguments)
        except Exception as error:
            raise AssertionError(f"{place}: {program} {' '.join(arguments)}: {error}") from error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("prefect server start --no-servces", "Unknown option"),
        ("prefect server databas upgrade", "Unknown command"),
        ("ray start --heads", "No such option"),
        ("mlflow serve --port 5000", "No such command"),
        ("vidclf runs ingest/demo", "No such command"),
        ("python -m deployments.buckets", "there is no module"),
    ],
)
def test_a_command_that_is_none_would_be_found(line: str, complaint: str) -> None:
    program, *arguments = line.split()
    with pytest.raises(Exception, match=complaint):
        parse(program, arguments)


def test_every_run_that_is_named_is_a_deployment_with_settings_that_it_takes() -> None:
    runs = [simple for _, simple in commands() if simple[:2] == ["vidclf", "run"]]
    assert len(runs) == 2
    for _, _, deployment, *rest in runs:
        assert deployment in read_deployments(ROOT / "prefect.yaml")
        find_job(deployment, None, rest[1::2])


def variables() -> dict[str, set[str]]:
    """Where → the names of the variables that are set there."""
    found = {name: set(service.get("environment", {})) for name, service in compose(secrets())["services"].items()}
    objects = kubernetes()
    (settings,) = [
        one for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "vidclf-settings"
    ]
    found["kubernetes settings"] = set(settings["data"])
    found["kubernetes pods"] = {
        one["name"] for env in everywhere([objects, flow_run()], "env") if isinstance(env, list) for one in env
    } - {"IMAGE"}  # of the script beside it
    options = ray_up()["docker"]["run_options"]
    found["aws"] = {option.split()[1].split("=")[0] for option in options if option.startswith("--env ")}
    found["image"] = {word.split("=")[0] for name, line in instructions() if name == "ENV" for word in line} - {
        word.split("=")[0] for name, line in instructions() if name == "ENV" for word in line if word.startswith("PIP_")
    }
    return found


def known() -> set[str]:
    """Every variable that our code or one of the programs reads."""
    import botocore
    import mlflow
    import ray
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_valid_setting_names
    from prefect_kubernetes.settings import KubernetesObserverSettings
    from prefect_redis.client import RedisMessagingSettings

    names = FORWARDED | QUIET_LIBRARIES.keys() | POSTGRES | {"PYTHONUNBUFFERED"} | _get_valid_setting_names(Settings)
    for settings in (KubernetesObserverSettings, RedisMessagingSettings):
        names |= {f"{settings.model_config['env_prefix']}{field}".upper() for field in settings.model_fields}
    read_by = {
        r"VIDCLF_\w+|RAY_\w+": [path for room in ("vidclf", "tasks", "flows", "deployments") for path in (ROOT / room).rglob("*.py")],
        r"AWS_\w+": Path(botocore.__file__).parent.glob("*.py"),
        r"MLFLOW_\w+": [Path(mlflow.__file__).parent / name for name in ("environment_variables.py", "utils/cli_args.py", "cli/__init__.py")],
        r"RAY_AUTH_\w+": (Path(ray.__file__).parent / "_private/authentication").glob("*.py"),
    }  # fmt: skip
    for pattern, paths in read_by.items():
        names |= {name for path in paths for name in re.findall(rf"\b(?:{pattern})\b", path.read_text())}
    return names


@pytest.mark.filterwarnings("ignore")
def test_every_variable_is_one_that_somebody_reads() -> None:
    read = known()
    for place, names in variables().items():
        assert names <= read, f"{place}: nobody reads {sorted(names - read)}"


@pytest.mark.filterwarnings("ignore")
def test_a_variable_that_nobody_reads_would_be_found() -> None:
    assert not known() & {
        "PREFECT_API_DATABSE",
        "MLFLOW_TRACKING_URL",
        "RAY_AUTH_SECRET",
        "VIDCLF_STORES",
        "AWS_BUCKET",
    }


def test_the_image_is_one_and_of_this_version() -> None:
    images = {service["image"] for service in services().values()}
    images |= set(everywhere(kubernetes(), "image"))
    images |= {flow_run()["variables"]["properties"]["image"]["default"], ray_up()["docker"]["image"]}
    images |= set(re.findall(r"--tag (\S+)", (FOLDER / "image/Dockerfile").read_text()))
    assert images == {IMAGE}


def test_versions_are_those_of_constraints() -> None:
    pinned = constraints()
    assert set(everywhere(kubernetes(), "rayVersion")) == {pinned["ray"]}
    assert f"prefect-version: {pinned['prefect']}\n" in (ROOT / "prefect.yaml").read_text()


def test_nodes_are_told_where_things_are_by_the_same_names_everywhere() -> None:
    told = variables()
    assert {"AWS_DEFAULT_REGION", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "VIDCLF_STORE"} <= told["worker"]
    assert {"AWS_DEFAULT_REGION", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "VIDCLF_STORE"} == told[
        "kubernetes settings"
    ]
    assert told["kubernetes settings"] <= told["aws"]
