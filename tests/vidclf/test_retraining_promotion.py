"""Aliases of a real registry: how they move, how they are moved back, and what a kill -9 in between leaves."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner

from tests.vidclf.test_retraining import CRITERIA, answers, labels
from tests.vidclf.untrained import save_untrained, view_of
from vidclf.cli import main
from vidclf.data.view import StoredFrames
from vidclf.errors import ConfigError
from vidclf.home import default_store
from vidclf.lease import Lease, hold
from vidclf.retraining import records
from vidclf.retraining.decision import Contestant, Decision, conclude, decision_id, weigh
from vidclf.retraining.outcome import Outcome
from vidclf.storage import Store
from vidclf.tracking import promotion, registry

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, of its libraries

VIEW = view_of(StoredFrames(num_frames=8, side_size=32))
NAME = "dancing"
BETTER, WORSE = ("x" * 20, "." * 10 + "x" * 10), ("." * 10 + "x" * 10, "x" * 20)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Contestant]]:
    """A home with three versions of a model, the first of them its champion; to be copied."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDCLF_HOME", str(folder / "home"))
        for seed, name in enumerate(("first", "second", "third")):
            save_untrained(folder / name, VIEW, seed=seed)
            registry.register(str(folder / name), NAME)
        registry.set_alias(NAME, "champion", 1)
        return folder, [promotion.contestant(one) for one in reversed(registry.registered(NAME))]


@pytest.fixture
def versions(made: tuple[Path, list[Contestant]], own_home: Path) -> list[Contestant]:
    shutil.copytree(made[0] / "home", own_home)
    return made[1]


@pytest.fixture
def kept(own_home: Path) -> Store:
    """Where the decisions are."""
    return records.folder(default_store(), NAME)


@pytest.fixture
def guard(kept: Store) -> Iterator[Lease]:
    with hold(kept, "the retraining") as lease:
        yield lease


def decide(
    kept: Store, challenger: Contestant, champion: Contestant | None, said: tuple[str, str] = BETTER
) -> Decision:
    """A decision that is on the store, and not carried out."""
    figures = weigh(labels(20, 10), answers(said[0]), answers(said[1]) if champion else None)
    promote, reason = conclude(figures, CRITERIA)
    name = decision_id(NAME, "s", challenger, champion, CRITERIA)
    return records.write(
        kept,
        Decision(
            decision_id=name, model_name=NAME, dataset="tiny", snapshot_id="s", challenger=challenger, champion=champion,
            criteria=CRITERIA, figures=figures, promote=promote, reason=reason, trained_because="it was due",
            decided_at="2026-11-21T03:00:00+00:00",
        ),
    )  # fmt: skip


def aliases() -> dict[str, int]:
    return {alias: one.version for alias, one in promotion.by_alias(NAME).items()}


def tags(version: int) -> dict[str, str]:
    return next(one.tags for one in registry.registered(NAME) if one.version == version)


def killed(work: Callable[[], Any], nth: int, when: str, method: str = "set_registered_model_alias") -> None:
    """Do the work in a process that is killed before or after its ``nth`` call of this method of MLflow's client."""
    pid = os.fork()
    if not pid:
        original, calls = getattr(mlflow.MlflowClient, method), 0

        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if (calls, when) == (nth, "before"):
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **options)
            if (calls, when) == (nth, "after"):
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(mlflow.MlflowClient, method, call)
        try:
            work()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.thorough
def test_a_better_challenger_becomes_champion_and_a_worse_one_does_not(
    versions: list[Contestant], kept: Store, guard: Lease
) -> None:
    one, two, three = versions
    assert promotion.carry_out(decide(kept, three, one, WORSE), kept, guard) is Outcome.KEPT
    assert aliases() == {"champion": 1, "challenger": 3}
    assert (tags(3)["decided"], tags(3)["judged_against"], tags(3)["judged_top1"]) == ("kept", "1", "0.500000")
    decision = decide(kept, two, one)
    for _ in range(2):
        assert promotion.carry_out(decision, kept, guard) is Outcome.PROMOTED
        assert aliases() == {"champion": 2, "challenger": 2, "previous": 1}
    assert tags(2)["decision"] == f"{kept.uri}/{decision.decision_id}/decision.json"
    assert float(tags(2)["judged_p"]) == pytest.approx(1 / 1024)


def test_a_first_champion_has_no_previous(versions: list[Contestant], kept: Store, guard: Lease) -> None:
    registry.remove_alias(NAME, "champion")
    assert promotion.carry_out(decide(kept, versions[1], None), kept, guard) is Outcome.PROMOTED
    assert aliases() == {"champion": 2, "challenger": 2}
    with pytest.raises(ConfigError, match="has no alias 'previous' to go back to"):
        promotion.rollback(NAME)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("nth", "when", "method"),
    [
        (3, "after", "set_model_version_tag"),
        (1, "before", "set_registered_model_alias"),
        (1, "after", "set_registered_model_alias"),
        (2, "before", "set_registered_model_alias"),
        (2, "after", "set_registered_model_alias"),
        (3, "before", "set_registered_model_alias"),
        (3, "after", "set_registered_model_alias"),
    ],
)
def test_a_promotion_that_is_killed_is_completed_by_the_next_run(
    versions: list[Contestant], kept: Store, nth: int, when: str, method: str
) -> None:
    decision = decide(kept, versions[1], versions[0])

    def work() -> None:
        with hold(kept, "killed") as guard:
            promotion.carry_out(decision, kept, guard)

    killed(work, nth, when, method)
    assert aliases()["champion"] in (1, 2)
    with hold(kept, "the next") as guard:
        (left,) = records.pending(kept)
        assert promotion.carry_out(left, kept, guard) is Outcome.PROMOTED
    assert aliases() == {"champion": 2, "challenger": 2, "previous": 1}
    assert tags(2)["promoted_by"] == decision.decision_id


def test_a_decision_against_another_champion_moves_nothing(
    versions: list[Contestant], kept: Store, guard: Lease
) -> None:
    decision = decide(kept, versions[1], versions[0])
    registry.set_alias(NAME, "champion", 3)
    before = tags(2)
    assert promotion.carry_out(decision, kept, guard) is Outcome.OVERTAKEN
    assert (aliases(), tags(2)) == ({"champion": 3}, before)


def test_a_decision_on_a_version_that_is_no_more_moves_nothing(
    versions: list[Contestant], kept: Store, guard: Lease
) -> None:
    """The registry was made anew: the same number is another model."""
    gone = versions[1].model_copy(update={"version": 7})
    other = versions[1].model_copy(update={"model": "models:/m-0123"})
    for challenger in (gone, other):
        assert promotion.carry_out(decide(kept, challenger, versions[0]), kept, guard) is Outcome.TAKEN_BACK
    assert aliases() == {"champion": 1}


def test_a_rollback_is_one_command_and_can_be_done_once(versions: list[Contestant], kept: Store, guard: Lease) -> None:
    promotion.carry_out(decide(kept, versions[1], versions[0]), kept, guard)
    said = CliRunner().invoke(main, ["models", "rollback", NAME])
    assert (said.exit_code, said.output) == (
        0,
        "dancing@champion is version 1 again, which was champion before version 2; no retraining promotes version 2 again\n",
    )
    assert aliases() == {"champion": 1, "challenger": 2}
    again = CliRunner().invoke(main, ["models", "rollback", NAME])
    assert again.exit_code == 2
    assert again.output.startswith(
        "vidclf: model 'dancing' has no alias 'previous' to go back to: nothing was promoted"
    )
    assert len(again.output.splitlines()) == 1
    assert "no model 'walking' is registered" in CliRunner().invoke(main, ["models", "rollback", "walking"]).output
    assert aliases() == {"champion": 1, "challenger": 2}


def test_what_was_rolled_back_stays_back(versions: list[Contestant], kept: Store, guard: Lease) -> None:
    decision = decide(kept, versions[1], versions[0])
    promotion.carry_out(decision, kept, guard)
    promotion.rollback(NAME)
    assert promotion.carry_out(decision, kept, guard) is Outcome.TAKEN_BACK  # as if the run had been killed just before
    assert aliases() == {"champion": 1, "challenger": 2}
    at = promotion.rolled_back_at(versions[1], NAME)
    assert at is not None
    assert not conclude(weigh(labels(20), answers("x" * 20), answers("." * 20)), CRITERIA, at)[0]
    assert promotion.carry_out(decide(kept, versions[2], versions[0]), kept, guard) is Outcome.PROMOTED
    assert aliases() == {"champion": 3, "challenger": 3, "previous": 1}


def test_what_a_person_moved_away_by_hand_stays_away(versions: list[Contestant], kept: Store, guard: Lease) -> None:
    decision = decide(kept, versions[1], versions[0])
    promotion.carry_out(decision, kept, guard)
    registry.set_alias(NAME, "champion", 1)
    assert promotion.carry_out(decision, kept, guard) is Outcome.TAKEN_BACK
    assert aliases()["champion"] == 1


#: Calls of a promotion, which the rollback's come after.
PROMOTING = {"set_model_version_tag": 9, "set_registered_model_alias": 3, "delete_registered_model_alias": 0}


@pytest.mark.parametrize(
    ("method", "when"),
    [
        ("set_model_version_tag", "after"),
        ("set_registered_model_alias", "after"),
        ("delete_registered_model_alias", "before"),
    ],
)
def test_a_rollback_that_is_killed_is_completed_by_the_next(
    versions: list[Contestant], kept: Store, method: str, when: str
) -> None:
    decision = decide(kept, versions[1], versions[0])

    def work() -> None:
        with hold(kept, "killed") as guard:
            promotion.carry_out(decision, kept, guard)
        promotion.rollback(NAME)

    killed(work, PROMOTING[method] + 1, when, method)
    promotion.rollback(NAME)
    assert aliases() == {"champion": 1, "challenger": 2}
    assert "rolled_back" in tags(2)
