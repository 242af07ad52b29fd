"""The Ray cluster: a local one for the length of a run, or the one that ``$RAY_ADDRESS`` names."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray

from vidclf.errors import ConfigError
from vidclf.home import home

#: What workers on other machines need to know of the driver's environment.
FORWARDED = ("AWS_", "VIDCLF_", "MLFLOW_", "NO_ALBUMENTATIONS_UPDATE")
LONGEST_FOLDER = 40  # characters


@contextlib.contextmanager
def cluster() -> Iterator[None]:
    """Be connected to Ray for the length of a ``with`` block. Nested blocks share one connection.

    Without ``$RAY_ADDRESS`` a cluster is started on this machine, never joined by chance, and ended with the block.

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
            forwarded = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": forwarded})
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


def num_cpus() -> int:
    """CPUs of the whole cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def smallest_node_cpus() -> int:
    """CPUs of the smallest living node: what one worker can have anywhere."""
    return max(1, int(min(node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"])))


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
