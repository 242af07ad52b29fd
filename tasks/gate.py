"""The hosts' gate as a Ray actor: one for the whole cluster, whoever drives it."""

from __future__ import annotations

import time

import ray

from vidclf.politeness import Closed, Gate

NAME, NAMESPACE = "vidclf-gate", "vidclf"


class RayGate:
    """A ``vidclf.politeness.Gatekeeper`` that asks the cluster's one gate. Picklable."""

    def __init__(self, actor: ray.actor.ActorHandle):
        self._actor = actor

    def turn(self, host: str, who: str, rate: float | None) -> None:
        """See ``Gatekeeper.turn``."""
        try:
            time.sleep(ray.get(self._actor.seconds_to_wait.remote(host, who, rate)))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def answered(self, host: str) -> None:
        """See ``Gatekeeper.answered``."""
        ray.get(self._actor.answered.remote(host))

    def blocked(self, host: str, why: str, retry_after: float | None, pause: float) -> None:
        """See ``Gatekeeper.blocked``."""
        ray.get(self._actor.blocked.remote(host, why, retry_after, pause))

    def silent(self, host: str, why: str, pause: float) -> None:
        """See ``Gatekeeper.silent``."""
        ray.get(self._actor.silent.remote(host, why, pause))

    def closed(self) -> list[Closed]:
        """The hosts that everybody leaves alone now."""
        return list(ray.get(self._actor.closed.remote()))


def open_gate() -> RayGate:
    """The cluster's gate; hosts that an earlier run gave up are asked again."""
    actor = ray.remote(Gate).options(
        name=NAME, namespace=NAMESPACE, lifetime="detached", get_if_exists=True, num_cpus=0, max_restarts=-1
    )
    gate = actor.remote()
    ray.get(gate.forgive.remote())
    return RayGate(gate)
