"""A Prefect profile that names the running stack, so that plain ``prefect …`` commands typed in this folder find it.

``pyproject.toml`` says ``[tool.prefect] profiles_path = ".vidclf/profiles.toml"``. Prefect takes a missing file for no
profile, so the file is there while the stack runs, and only then.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path


def write(home: Path, api_url: str) -> None:
    """Let ``prefect`` use this server from now on."""
    path(home).write_text(f'active = "vidclf"\n\n[profiles.vidclf]\nPREFECT_API_URL = "{api_url}"\n')


def remove(home: Path) -> None:
    """Let ``prefect`` use no server of ours."""
    path(home).unlink(missing_ok=True)


def path(home: Path) -> Path:
    return home / "profiles.toml"


def is_found(home: Path, folder: Path) -> bool:
    """Whether ``prefect``, typed in this folder with the environment as it is, takes the profile of this home."""
    if "PREFECT_API_URL" in os.environ or "PREFECT_PROFILES_PATH" in os.environ:
        return False
    try:
        settings = tomllib.loads((folder / "pyproject.toml").read_text())
        return Path(folder / settings["tool"]["prefect"]["profiles_path"]).resolve() == path(home).resolve()
    except (OSError, ValueError, KeyError, TypeError):
        return False
