"""Which code made a run: the package's version, and the commit where it is a git checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import vidclf


def code_tags() -> dict[str, str]:
    """Tags for a run: ``code_version``, and MLflow's own name for the commit (with ``-dirty`` where files differ)."""
    tags = {"code_version": vidclf.__version__}
    commit = _commit(Path(vidclf.__file__).parents[1])
    return tags | {"mlflow.source.git.commit": commit} if commit else tags


def _commit(folder: Path) -> str | None:
    git = shutil.which("git")
    if git is None or not (folder / ".git").exists():  # installed from a wheel
        return None
    described = subprocess.run(
        [git, "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() if described.returncode == 0 else None
