"""The Ray cluster: a local one for the length of a run, or the one that ``$RAY_ADDRESS`` names."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import ray

from vidclf.errors import ConfigError
from vidclf.home import home

#: What workers of another cluster are told of the driver's environment: where things are, and nothing secret. Ray writes
#: such variables into its logs, which its dashboard shows. Keys, tokens, passwords, cookies and proxies the nodes have
#: of their own: an instance's role, a mounted file, or variables that are set where Ray is started.
FORWARDED = {
    "AWS_CA_BUNDLE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_REGION",
    "MLFLOW_ARTIFACT_URI",
    "MLFLOW_TRACKING_URI",
    "NO_ALBUMENTATIONS_UPDATE",
    "VIDCLF_HOME",
    "VIDCLF_WEIGHTS",
}
LONGEST_FOLDER = 40  # characters
Value = TypeVar("Value")


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    """Be connected to Ray for the length of a ``with`` block. Nested blocks share one connection.

    Without ``$RAY_ADDRESS`` a cluster is started on this machine, never joined by chance, and ended with the block; its
    workers inherit the environment. Elsewhere they have their own, and ``FORWARDED``.

    Raises:
        ConfigError: the cluster that ``$RAY_ADDRESS`` names does not answer.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    os.environ["VIDCLF_HOME"] = str(home())  # workers have working folders of their own
    try:
        if address:
            environment = {"env_vars": forwarded(os.environ)}
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", runtime_env=environment)
        else:
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=512 * 1024**2,  # paths travel between tasks, not pixels
                _temp_dir=str(_short_folder()),
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"Ray at {address or 'this machine'}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def forwarded(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the driver's environment workers elsewhere are told.

    Raises:
        ConfigError: an address in it carries a password, which Ray would write into its logs.
    """
    told = {name: value for name, value in environment.items() if name in FORWARDED}
    for name, value in told.items():
        if "://" in value and urlsplit(value).password:
            raise ConfigError(
                f"${name} carries a password, which Ray would log: give the cluster's nodes their own, and take it out here"
            )
    return told


class Lately(Generic[Value]):
    """What the cluster said to a question a second ago at most: asking costs a millisecond."""

    def __init__(self, ask: Callable[[], Value]):
        self._ask = ask
        self._known: tuple[float, Value] | None = None

    def __call__(self) -> Value:
        now = time.monotonic()
        known = self._known
        if known is None or now - known[0] > 1.0:
            self._known = known = (now, self._ask())
        return known[1]


def num_cpus() -> int:
    """CPUs of the whole cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def smallest_node_cpus() -> int:
    """CPUs of the smallest living node that has any: what one worker can have anywhere."""
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return min((number for number in cpus if number), default=1)


def living_nodes() -> frozenset[str]:
    """Ids of the nodes that live."""
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def num_gpus() -> int:
    """GPUs of the whole cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def _short_folder() -> Path:
    """Ray's sockets live here, and the names of sockets may have 107 characters only, of which Ray needs some sixty."""
    folder = Path(tempfile.gettempdir()) / f"vidclf-ray-{os.getuid()}"
    if len(str(folder)) > LONGEST_FOLDER:
        folder = Path("/tmp") / folder.name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
