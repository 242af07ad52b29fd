"""``vidclf doctor``: what this machine has and lacks, each with the remedy.

A check is a function that says what it found. None imports Prefect, Ray, MLflow or torch unless it must, and all are asked at
the same time, so that the answer is there in a second or two.
"""

from deployments.doctor.finding import Check, Finding, State, diagnose
from deployments.doctor.machine import MACHINE
from deployments.doctor.servers import servers_checks
from deployments.doctor.software import SOFTWARE, online

__all__ = ["Check", "Finding", "State", "all_checks", "diagnose"]


def all_checks(store: str | None = None, with_network: bool = False) -> list[Check]:
    """Every check, in the order in which they are shown.

    Args:
        store: to be looked at instead of the usual one.
        with_network: also ask the hosts that videos and weights come from.
    """
    return [*SOFTWARE, *MACHINE, *servers_checks(store), *([online] if with_network else [])]
