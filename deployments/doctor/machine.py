"""Checks of the machine: room, memory, processors, limits."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from deployments.doctor.finding import Check, Finding, note, ok, wrong
from deployments.services import ray_folder
from vidclf.home import home

GB = 1e9
SCARCE_DISK, TOO_LITTLE_DISK = 10 * GB, 1 * GB
SCARCE_MEMORY, TOO_LITTLE_MEMORY = 4 * GB, 1 * GB
SCARCE_FILES, TOO_FEW_FILES = 4096, 1024
LONGEST_SOCKET = 107  # characters, on Linux
SOCKET_IN_SESSION = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
_ASK_TORCH = (
    "import torch; print([torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())], torch.__version__)"
)


def home_room() -> Finding:
    """Room for datasets, models and databases."""
    return _room("room in home", existing(home()), "free some, or let $VIDCLF_HOME name another place")


def temp_room() -> Finding:
    """Room for what is worked on."""
    return _room("room for temp", Path(tempfile.gettempdir()), "free some, or set TMPDIR to another place")


def memory() -> Finding:
    """Memory that is free now."""
    have = psutil.virtual_memory()
    found = f"{have.available / GB:.1f} GB of {have.total / GB:.1f} GB are free"
    if have.available < TOO_LITTLE_MEMORY:
        return wrong("memory", found, "end something else; make demo takes 3.6 GB")
    if have.available < SCARCE_MEMORY:
        return note("memory", found, "make demo takes 3.6 GB; smaller: optim.batch_size, execution.max_in_flight")
    return ok("memory", found)


def processors() -> list[Finding]:
    """CPUs that this process may use, and GPUs that torch sees. Torch is asked only where there is an NVIDIA driver."""
    cpus = ok("processors", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} CPUs")
    if not (Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi")):
        return [cpus, note("gpu", "no NVIDIA driver here", "trainings run on the CPUs; the big models want a GPU")]
    asked = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, check=False, timeout=60)
    if asked.returncode:
        last = asked.stderr.strip().splitlines()[-1:]
        return [cpus, wrong("gpu", f"torch does not start: {' '.join(last)}", "install torch anew: make install")]
    if asked.stdout.startswith("[]"):
        remedy = "see $CUDA_VISIBLE_DEVICES, and that torch's build and the driver (nvidia-smi) fit together"
        return [cpus, wrong("gpu", f"there is a driver, and torch sees no GPU: {asked.stdout.strip()}", remedy)]
    return [cpus, ok("gpu", f"torch sees {asked.stdout.strip()}")]


def open_files() -> Finding:
    """How many files a process may have open: Ray's and the servers' sockets count too. Ray raises the soft limit itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} may be open, {'any number' if hard == resource.RLIM_INFINITY else hard} at most"
    if 0 <= hard < TOO_FEW_FILES:
        return wrong(
            "open files", found, "raise the hard limit, in /etc/security/limits.conf or the container's settings"
        )
    if soft < SCARCE_FILES <= hard or 0 <= hard < SCARCE_FILES:
        return note("open files", found, "ulimit -n 65536 before big runs")
    return ok("open files", found)


def ray_sockets() -> Finding:
    """The names of Ray's sockets have a longest length, which a deep folder for temporary files uses up."""
    longest = len(f"{ray_folder(home())}{SOCKET_IN_SESSION}")
    found = f"{longest} characters, {LONGEST_SOCKET} are allowed"
    if longest > LONGEST_SOCKET:
        return wrong("ray's sockets", f"names of {found}", f"set TMPDIR to a shorter path than {tempfile.gettempdir()}")
    return ok("ray's sockets", f"names of {found}")


def existing(folder: Path) -> Path:
    """``folder``, or the next one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def unwritable(folder: Path) -> str:
    """Why no file can be written in a folder, as a sentence; empty where one can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
            probe.flush()  # a full disk is met only now
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"
    return ""


def _room(name: str, folder: Path, remedy: str) -> Finding:
    free = shutil.disk_usage(folder).free
    found = f"{free / GB:.1f} GB are free in {folder}"
    if trouble := unwritable(folder):
        return wrong(name, trouble, remedy)
    if free < TOO_LITTLE_DISK:
        return wrong(name, found, remedy)
    return note(name, found, remedy) if free < SCARCE_DISK else ok(name, found)


MACHINE: list[Check] = [home_room, temp_room, memory, processors, open_files, ray_sockets]
