"""Where this kit comes from, a checkout or an installed wheel: its own wheel, its commit, and the project's files."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import kit
from kit.errors import InputError, MissingError

SOURCE = Path(kit.__file__).parent.parent
"""The checkout this kit is installed from, or the folder of packages that it is installed into."""
IS_CHECKOUT = (SOURCE / "pyproject.toml").is_file()
PROJECT = SOURCE if IS_CHECKOUT else Path(kit.__file__).parent / "assets" / "project"
"""Where the project's own files are: pyproject.toml, the locks in wheels/, the notebook. The wheel holds a copy."""

_EPOCH = "1577836800"  # 2020-01-01: any fixed time after 1980, which zip cannot go below


def build_wheel(out: Path) -> Path:
    """Build the kit's wheel from its checkout without a network; the same sources give the same bytes.

    Raises: MissingError if the kit is not installed from a checkout; InputError if the build fails.
    """
    if not (SOURCE / "pyproject.toml").is_file():
        raise MissingError(f"{SOURCE / 'pyproject.toml'}: not found; build the dataset from a checkout of the kit")
    if importlib.util.find_spec("hatchling") is None:
        fix = f"use {SOURCE / '.venv' / 'bin' / 'python'}, which `make` makes"
        raise MissingError(f"{sys.executable}: has no package `hatchling`, needed to build the kit's wheel; {fix}")
    command = [sys.executable, "-P", "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out.resolve())]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
    done = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    wheels = list(out.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise InputError(f"{SOURCE}: the kit's wheel does not build:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return wheels[0]


def commit() -> str:
    """The checkout's commit, with `+changes` if files differ from it; `unknown` outside git."""
    git = ["git", "-C", str(SOURCE)]
    if shutil.which("git") is None:
        return "unknown"
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "unknown"
    status = [*git, "status", "--porcelain", "--untracked-files=no"]
    changes = subprocess.run(status, capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
