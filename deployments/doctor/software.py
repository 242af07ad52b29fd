"""Checks of what is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from deployments.doctor.finding import Check, Finding, note, ok, wrong
from deployments.doctor.machine import existing
from vidclf.media.ffmpeg import executable
from vidclf.reach import Unanswered, require_answer

OLDEST_PYTHON = (3, 11)
YT_DLP_DAYS = 90  # YouTube changes; an older yt-dlp than this has often stopped working
EXTRAS = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "metrics": ("opencensus", "aiohttp_cors")}
HOSTS = {
    "YouTube": "https://www.youtube.com/robots.txt",
    "Kinetics' mirror": "https://s3.amazonaws.com/kinetics/700_2020/annotations/val.csv",
    "published weights": "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/X3D_XS.pyth",
}


def python() -> Finding:
    """The interpreter."""
    found = f"{sys.version.split()[0]}, {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return wrong("python", found, "vidclf needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 install")
    return ok("python", found)


def packages() -> Finding:
    """Whether everything that vidclf needs is here, in a version that it works with."""
    bad = []
    for line in metadata.requires("vidclf") or []:
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            have = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            bad.append(f"{needed.name} is missing")
            continue
        if not needed.specifier.contains(have, prereleases=True):
            bad.append(f"{needed.name} is {have}, not {needed.specifier}")
    if bad:
        return wrong("packages", "; ".join(bad), "make install, or pip install --constraint constraints.txt -e .")
    return ok("packages", f"vidclf {metadata.version('vidclf')}, and all that it needs")


def ffmpeg() -> Finding:
    """The program that cuts and encodes."""
    remedy = "pip install --force-reinstall imageio-ffmpeg, or let $IMAGEIO_FFMPEG_EXE name an ffmpeg with libx264"
    try:
        path = executable()
        said = subprocess.run(
            [path, "-hide_banner", "-encoders"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return wrong("ffmpeg", f"does not run: {error}", remedy)
    if "libx264" not in said.stdout:
        return wrong("ffmpeg", f"{path} has no libx264", remedy)
    return ok("ffmpeg", path)


def pyav() -> Finding:
    """The library that probes and decodes."""
    try:
        import av
    except ImportError as error:
        return wrong("pyav", f"cannot be imported: {error}", "pip install --force-reinstall av")
    return ok("pyav", f"{av.__version__}, with libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}")


def yt_dlp() -> Finding:
    """YouTube changes, and yt-dlp with it."""
    version = metadata.version("yt-dlp")
    days = (datetime.now(UTC).date() - date(*map(int, version.split(".")[:3]))).days
    if days > YT_DLP_DAYS:
        return note("yt-dlp", f"{version}, {days} days old", "where YouTube fails: pip install --upgrade yt-dlp")
    return ok("yt-dlp", f"{version}, {days} days old")


def weights() -> Finding:
    """Where published weights are kept, without importing torch, whose rule this is."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    torch_home = Path(os.environ.get("TORCH_HOME", caches / "torch")).expanduser()
    folder = Path(os.environ.get("VIDCLF_WEIGHTS") or torch_home / "hub" / "checkpoints")
    if "://" in str(os.environ.get("VIDCLF_WEIGHTS", "")):
        return ok("weights", f"from {os.environ['VIDCLF_WEIGHTS']}")
    if not os.access(existing(folder.absolute()), os.W_OK):
        return wrong("weights", f"{folder} cannot be written", "let $VIDCLF_WEIGHTS name another folder")
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return ok("weights", f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.0f} MB in {folder}")


def extras() -> list[Finding]:
    """What some commands need, and most do without."""
    found = []
    for name, modules in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            found.append(note(f"extra {name}", f"{', '.join(missing)} not here", f"pip install 'vidclf[{name}]'"))
        else:
            found.append(ok(f"extra {name}", "installed"))
    return found


def online() -> list[Finding]:
    """The hosts that videos and weights come from."""
    found = []
    for name, url in HOSTS.items():
        try:
            require_answer(url)
        except Unanswered as error:
            found.append(wrong(name, str(error), "see the network, or set HTTPS_PROXY; videos: VIDCLF_PROXY"))
        else:
            found.append(ok(name, "answers"))
    return found


SOFTWARE: list[Check] = [python, packages, ffmpeg, pyav, yt_dlp, weights, extras]
