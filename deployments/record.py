"""``$VIDCLF_HOME/stack.json``: which processes of the stack run. The truth for ``up``, ``down``, ``status`` and the keeper.

It is written before anything waits, so that whatever happens to ``up``, the next ``up`` or ``down`` finds what was
started; its ``environment`` is empty until the stack is ready.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deployments.errors import StackError
from deployments.services import Ports
from deployments.supervision import Running
from vidclf.home import KEEPER, stack_file


@dataclass(frozen=True)
class Stack:
    """What runs. Without services: nothing."""

    id: str
    ports: Ports
    services: tuple[Running, ...] = ()
    environment: dict[str, str] | None = None  # for clients; None while it is being started

    @property
    def keeper(self) -> Running | None:
        return next((service for service in self.services if service.name == KEEPER), None)

    def with_service(self, new: Running) -> Stack:
        """This stack with a service's new process in the place of its old one."""
        others = [service for service in self.services if service.name != new.name]
        place = next((n for n, service in enumerate(self.services) if service.name == new.name), len(others))
        return replace(self, services=(*others[:place], new, *others[place:]))


def read(home: Path) -> Stack:
    """The stack as it is recorded; one without services where there is none.

    Raises:
        StackError: the file makes no sense.
    """
    try:
        held = json.loads(path(home).read_text())
        return Stack(
            held["id"],
            Ports(**held["ports"]),
            tuple(Running(**service) for service in held["services"]),
            held["environment"] or None,
        )
    except FileNotFoundError:
        return Stack("", Ports())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(f"{path(home)} cannot be read ({error}); end its processes, then delete it") from None


def update(home: Path, change: Callable[[Stack], Stack]) -> Stack:
    """Replace the record by what ``change`` makes of it, while nobody else does; the new one."""
    with path(home).with_suffix(".json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stack = change(read(home))
        content = {**asdict(stack), "environment": stack.environment or {}}
        draft = path(home).with_suffix(".tmp")
        draft.write_text(json.dumps(content, indent=2))
        draft.replace(path(home))
    return stack


def remove(home: Path) -> None:
    path(home).unlink(missing_ok=True)


def path(home: Path) -> Path:
    return home / stack_file().name
