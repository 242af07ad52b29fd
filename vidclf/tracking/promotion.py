"""Which version of a registered model is in use: the aliases champion, challenger and previous, and how they move.

MLflow moves one alias at a time. So a decision is on the store before the first of them moves, each move is one that can be
made twice, and in this order: ``previous``, ``champion``, ``challenger``. Whoever is killed in between leaves a champion
that is the old one or the new one, and the rest to the next run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow.exceptions import MlflowException

from vidclf.errors import ConfigError
from vidclf.home import default_store
from vidclf.lease import Lease
from vidclf.retraining import records
from vidclf.retraining.decision import Contestant, Decision
from vidclf.retraining.outcome import Outcome, tags
from vidclf.storage import Store
from vidclf.tracking.client import client, explained
from vidclf.tracking.models import pinned
from vidclf.tracking.registry import Registered, described, registered

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
#: Tags of a version: where the decision on it lies, by which one it was promoted, when somebody went back from it.
DECISION, PROMOTED_BY, ROLLED_BACK = "decision", "promoted_by", "rolled_back"


@dataclass(frozen=True)
class RolledBack:
    """A champion that was gone back to."""

    champion: Registered
    before: Registered | None  # who was champion; None: nobody, or the same already


def by_alias(name: str) -> dict[str, Registered]:
    """Alias → the version that has it; empty where no model of that name is registered.

    Raises:
        TrackingError: MLflow does not answer.
    """
    with explained():
        try:
            aliases = client().get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        return {alias: described(client().get_model_version(name, version)) for alias, version in aliases.items()}


def contestant(one: Registered) -> Contestant:
    """A version as decisions name it."""
    return Contestant(version=one.version, model=pinned(one.uri), snapshot_id=one.snapshot_id)


def rolled_back_at(one: Contestant, name: str) -> str | None:
    """When somebody went back from this version of the model ``name``, if that happened."""
    with explained():
        tagged: dict[str, str] = client().get_model_version(name, str(one.version)).tags
    return tagged.get(ROLLED_BACK)


def carry_out(decision: Decision, kept: Store, guard: Lease) -> Outcome:
    """Move the aliases as was decided; what was moved already stays.

    Args:
        kept: where the model's decisions are.
        guard: of the retraining.

    Returns:
        ``OVERTAKEN``: the champion is another than the one that was judged, nothing moved. ``TAKEN_BACK``: it was promoted,
        and somebody has moved the alias away since, or the challenger is not in the registry any more; nothing moved.

    Raises:
        LeaseLost: somebody else retrains the model.
        TrackingError: MLflow does not answer, or refuses.
    """
    name, judged = decision.model_name, decision.challenger
    with explained(), records.moving_aliases(kept) as lease:
        now = by_alias(name)
        champion = now[CHAMPION].version if CHAMPION in now else None
        against = decision.champion.version if decision.champion else None
        challenger = _version(name, judged)
        if challenger is None:
            return Outcome.TAKEN_BACK
        moved = decision.promote and champion == judged.version
        promoted_before = challenger.tags.get(PROMOTED_BY) == decision.decision_id
        if decision.promote and not moved and (promoted_before or ROLLED_BACK in challenger.tags):
            return Outcome.TAKEN_BACK
        if champion != against and not moved:
            return Outcome.OVERTAKEN
        address = f"{kept.uri}/{decision.decision_id}/{records.DECISION}"
        _tag(name, judged.version, {**tags(decision), DECISION: address})
        for alias, version in _moves(decision, moved):
            for held in (guard, lease):
                held.check()
            client().set_registered_model_alias(name, alias, str(version))
            if alias == CHAMPION:
                _tag(name, version, {PROMOTED_BY: decision.decision_id})
    return Outcome.PROMOTED if decision.promote else Outcome.KEPT


def rollback(name: str) -> RolledBack:
    """Point ``champion`` to ``previous`` again, which is gone then. No retraining promotes the version that was champion again.

    Raises:
        ConfigError: there is no such model, or nothing to go back to.
        LeaseHeld: aliases of the model are being moved in this moment.
        TrackingError: MLflow does not answer, or refuses.
    """
    registered(name)
    champion = by_alias(name).get(CHAMPION)
    address = champion.tags.get(DECISION) if champion else None
    kept = Store(address.rsplit("/", 2)[0]) if address else records.folder(default_store(), name)
    with explained(), records.moving_aliases(kept) as lease:
        now = by_alias(name)
        champion, previous = now.get(CHAMPION), now.get(PREVIOUS)
        if previous is None:
            raise ConfigError(
                f"model {name!r} has no alias {PREVIOUS!r} to go back to: nothing was promoted since the last rollback;"
                f" `vidclf models alias {name}@{CHAMPION} VERSION` chooses any version"
            )
        if champion is not None and champion.version != previous.version:
            _tag(name, champion.version, {ROLLED_BACK: datetime.now(UTC).isoformat(timespec="seconds")})
            lease.check()
        client().set_registered_model_alias(name, CHAMPION, str(previous.version))
        client().delete_registered_model_alias(name, PREVIOUS)
        before = champion if champion is None or champion.version != previous.version else None
        return RolledBack(described(client().get_model_version(name, str(previous.version))), before)


def _moves(decision: Decision, moved: bool) -> list[tuple[str, int]]:
    """Alias and version, in the order in which they are set."""
    new = decision.challenger.version
    moves = [(CHAMPION, new)] if decision.promote else []
    if decision.promote and decision.champion is not None and not moved:
        moves.insert(0, (PREVIOUS, decision.champion.version))
    return [*moves, (CHALLENGER, new)]


def _version(name: str, judged: Contestant) -> Registered | None:
    """The version that was judged; None where the registry has it no more."""
    try:
        found = described(client().get_model_version(name, str(judged.version)))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return found if pinned(found.uri) == judged.model else None


def _tag(name: str, version: int, values: dict[str, str]) -> None:
    for key, value in values.items():
        client().set_model_version_tag(name, str(version), key, value)
