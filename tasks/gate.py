"""The hosts' gate as a Ray actor: one for the whole cluster, whoever drives it."""

from __future__ import annotations

import logging
import time
from typing import Any

import ray

from vidclf.errors import StorageError
from vidclf.politeness import Closed, Gate

NAME, NAMESPACE = "vidclf-gate", "vidclf"
PATIENCE = 120.0  # seconds that a worker waits for a gate whose machine died: Ray takes up to a minute to notice
PATIENCE_WITH_NEWS = 10.0  # what was fetched is not held up for long

_log = logging.getLogger(__name__)


class RayGate:
    """A ``vidclf.politeness.Gatekeeper`` that asks the cluster's one gate. Picklable.

    A gate that dies begins anew, on another machine if need be, and knows no host then: each is asked at once, and one
    that has enough says so again.
    """

    def __init__(self) -> None:
        self._actor = _actor()

    def turn(self, host: str, who: str, rate: float | None) -> None:
        """See ``Gatekeeper.turn``.

        Raises:
            StorageError: the gate does not come back.
        """
        time.sleep(self._ask("seconds_to_wait", host, who, rate))

    def answered(self, host: str, who: str) -> None:
        """See ``Gatekeeper.answered``."""
        self._tell("answered", host, who)

    def blocked(self, host: str, why: str, retry_after: float | None, pause: float) -> None:
        """See ``Gatekeeper.blocked``."""
        self._tell("blocked", host, why, retry_after, pause)

    def silent(self, host: str, why: str, pause: float) -> None:
        """See ``Gatekeeper.silent``."""
        self._tell("silent", host, why, pause)

    def closed(self) -> list[Closed]:
        """The hosts that everybody leaves alone now."""
        return list(self._ask("closed"))

    def forgive(self) -> None:
        """See ``Gate.forgive``."""
        self._ask("forgive")

    def _tell(self, method: str, *arguments: Any) -> None:
        """News that is lost costs a host one request too many, never the clip."""
        try:
            self._ask(method, *arguments, patience=PATIENCE_WITH_NEWS)
        except StorageError as error:
            _log.warning("%s", error)

    def _ask(self, method: str, *arguments: Any, patience: float = PATIENCE) -> Any:
        until, wait = time.monotonic() + patience, 0.1
        while True:
            try:
                return ray.get(getattr(self._actor, method).remote(*arguments))
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayActorError as error:
                if time.monotonic() + wait > until:
                    raise StorageError(f"the hosts' gate in the Ray cluster does not answer: {error}") from error
            time.sleep(wait)
            wait = min(2 * wait, 5.0)
            self._actor = _actor()  # the same one where it begins anew by itself


def _actor() -> ray.actor.ActorHandle:
    options = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    return ray.remote(Gate).options(**options, num_cpus=0, max_restarts=-1).remote()


def open_gate() -> RayGate:
    """The cluster's gate; hosts that an earlier run gave up are asked again."""
    gate = RayGate()
    gate.forgive()
    return gate
