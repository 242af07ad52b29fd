"""Models in MLflow's registry: by version, by alias, and wherever a model is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import vidclf
from tests.conftest import VideoMaker
from tests.vidclf.untrained import save_untrained, view_of
from vidclf import tracking
from vidclf.cli import main
from vidclf.data.view import StoredFrames
from vidclf.errors import ConfigError
from vidclf.models import checkpoint
from vidclf.storage import Store
from vidclf.tracking import registry

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of its libraries

VIEW = view_of(StoredFrames(num_frames=8, side_size=32))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an MLflow database, and two checkpoints; to be copied. A database takes seconds to make."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate(("first", "second")):
        save_untrained(folder / name, VIEW, seed=seed, results={"val_top1": 0.25 + seed / 4, "epoch": 3.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDCLF_HOME", str(folder / "home"))
        tracking.client().search_experiments()
    return folder


@pytest.fixture
def first(made: Path, own_home: Path) -> str:
    shutil.copytree(made / "home", own_home)
    return str(made / "first")


@pytest.fixture
def second(made: Path) -> str:
    return str(made / "second")


@pytest.mark.thorough
def test_versions_count_up_and_aliases_move_between_them(first: str, second: str) -> None:
    one = registry.register(first, "dancing", ["champion"])
    two = registry.register(second, "dancing", ["challenger"])
    assert [(m.version, m.aliases, m.val_top1) for m in (one, two)] == [
        (1, ("champion",), 0.25),
        (2, ("challenger",), 0.5),
    ]
    assert (one.uri, one.model, one.checkpoint) == ("models:/dancing/1", "x3d_xs", first)
    assert registry.set_alias("dancing", "champion", 2).aliases == ("challenger", "champion")
    registry.remove_alias("dancing", "challenger")
    assert [(m.version, m.aliases) for m in registry.registered("dancing")] == [(2, ("champion",)), (1, ())]
    assert registry.registered() == registry.registered("dancing")


def test_the_same_checkpoint_keeps_its_version(first: str, tmp_path: Path) -> None:
    assert registry.register(first, "dancing") == registry.register(first, "dancing")
    assert registry.register("models:/dancing/1", "dancing", ["champion"]).version == 1
    assert registry.register("models:/dancing@champion", "another").version == 1  # logged once, under two names
    runs = tracking.client().search_runs([e.experiment_id for e in tracking.client().search_experiments()])
    assert len(runs) == 1
    shutil.copytree(first, tmp_path / "first")
    store = Store(tmp_path)
    store.write_json("first/model.json", store.read_json("first/model.json") | {"snapshot_id": "another"})
    assert registry.register(str(tmp_path / "first"), "dancing").version == 2  # another one of the same name


def test_an_alias_gives_the_checkpoint_that_it_names_now(first: str, second: str) -> None:
    registry.register(first, "dancing", ["champion"])
    registry.register(second, "dancing")
    for uri, expected in {"models:/dancing@champion": first, "models:/dancing/2": second}.items():
        found = registry.local_checkpoint(uri)
        assert (found / "model.safetensors").read_bytes() == Path(expected, "model.safetensors").read_bytes()
        assert checkpoint.read_card(found) == checkpoint.read_card(expected)
        assert registry.local_checkpoint(uri) == found
    registry.set_alias("dancing", "champion", 2)
    found = registry.local_checkpoint("models:/dancing@champion")
    assert (found / "model.safetensors").read_bytes() == Path(second, "model.safetensors").read_bytes()


def test_what_a_killed_process_left_is_fetched_again(first: str) -> None:
    registry.register(first, "dancing")
    found = registry.local_checkpoint("models:/dancing/1")
    (found / "model.json").unlink()
    assert registry.local_checkpoint("models:/dancing/1") == found
    assert vidclf.load(found, device="cpu").card.results["epoch"] == 3.0


def test_wrong_names_are_one_line(first: str, tmp_path: Path) -> None:
    registry.register(first, "dancing", ["champion"])
    for wrong, message in [
        (lambda: registry.local_checkpoint("models:/dancing@nobody"), "nobody not found"),
        (lambda: registry.local_checkpoint("models:/dancing/7"), "MLflow has no model models:/dancing/7"),
        (lambda: registry.local_checkpoint("models:/walking/1"), "MLflow has no model models:/walking/1"),
        (lambda: registry.local_checkpoint("models:/"), "MLflow has no model models:/"),
        (lambda: registry.set_alias("dancing", "champion", 9), "has no version 9; it has: 1"),
        (lambda: registry.set_alias("dancing", "v2", 1), "'v2' is no alias"),
        (lambda: registry.set_alias("dancing", "the best", 1), "'the best' is no alias"),
        (lambda: registry.remove_alias("dancing", "challenger"), "has no alias 'challenger'; it has: champion"),
        (lambda: registry.registered("walking"), "no model 'walking' is registered; there are: dancing"),
        (lambda: registry.register(first, "a/b"), "'a/b' is no model's name"),
        (lambda: registry.register(str(tmp_path), "dancing"), "is no finished checkpoint"),
    ]:
        with pytest.raises(ConfigError, match=message) as error:
            wrong()
        assert "\n" not in str(error.value)


def test_looking_for_a_model_makes_no_database(own_home: Path) -> None:
    for look in (lambda: registry.local_checkpoint("models:/dancing@champion"), lambda: registry.registered()):
        with pytest.raises(ConfigError, match=r"nothing is registered in .*mlflow\.db, which is not there"):
            look()
    assert not own_home.exists()


def test_the_command_registers_moves_and_lists(first: str, second: str) -> None:
    def models(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, ["models", *arguments])
        assert done.exit_code == status, done.output
        return done.output

    assert "models:/dancing/1 @champion  x3d_xs" in models("register", first, "dancing", "--alias", "champion")
    models("register", second, "dancing")
    assert "models:/dancing/2 @champion" in models("alias", "dancing@champion", "2")
    listed = json.loads(models("registered", "dancing", "--json"))
    assert [(one["uri"], one["aliases"]) for one in listed] == [
        ("models:/dancing/2", ["champion"]),
        ("models:/dancing/1", []),
    ]
    assert "no alias champion any more" in models("alias", "dancing@champion", "--remove")
    assert "has no alias" in models("alias", "dancing@champion", "--remove", status=2)
    assert "say to which version" in models("alias", "dancing@champion", status=2)
    assert "as dancing@champion" in models("alias", "dancing", "1", status=2)


@pytest.mark.thorough
def test_a_registered_model_answers_in_a_process_that_has_only_the_library(
    first: str, make_video: VideoMaker, own_home: Path
) -> None:
    registry.register(first, "dancing", ["champion"])
    video = make_video()
    code = f"""
import json, sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "prefect", "tasks", "flows"):
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
import vidclf
(said,) = vidclf.load("models:/dancing@champion", device="cpu").predict([{str(video)!r}])
assert not {{"ray", "prefect", "tasks", "flows"}} & set(sys.modules)
print(json.dumps(said.labels))
"""
    environment = {**os.environ, "VIDCLF_HOME": str(own_home)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    (expected,) = vidclf.load(first, device="cpu").predict([video])
    assert json.loads(done.stdout) == [pytest.approx(list(one)) for one in expected.labels]


@pytest.mark.thorough
def test_a_checkpoint_needs_no_mlflow(made: Path) -> None:
    code = f"import sys, vidclf; vidclf.load({str(made / 'first')!r}, device='cpu'); assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
