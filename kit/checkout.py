"""Where this kit comes from, a checkout or an installed wheel: its own wheel, its commit, and the project's files."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path, PurePath
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import kit
from kit.errors import InputError, MissingError

SOURCE = Path(kit.__file__).parent.parent
"""The checkout this kit is installed from, or the folder of packages that it is installed into."""
IS_CHECKOUT = (SOURCE / "pyproject.toml").is_file()
PROJECT = SOURCE if IS_CHECKOUT else Path(kit.__file__).parent / "assets" / "project"
"""Where the project's own files are: pyproject.toml, the locks in wheels/, the notebook. The wheel holds a copy."""

_NAME = "mathllm-kit"
_OF_INSTALLER = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
_EPOCH = "1577836800"  # 2020-01-01: any fixed time after 1980, which zip cannot go below


def build_wheel(out: Path) -> Path:
    """The kit's wheel in the folder `out`, made without a network; the same kit gives the same bytes.

    Built from the checkout, or put together again from the files that its wheel was installed as.
    Raises: MissingError for what it cannot be made from; InputError if the build fails.
    """
    return _built(out) if IS_CHECKOUT else repacked_wheel(out)


def repacked_wheel(out: Path, *, path: Sequence[str] = tuple(sys.path)) -> Path:
    """The wheel that is installed on `path`, from its files; what the installer added is left out.

    Raises: MissingError where none is installed by a wheel.
    """
    found = next(iter(metadata.distributions(name=_NAME, path=list(path))), None)
    files = [file for file in (found.files or () if found is not None else ()) if _is_of_wheel(file)]
    if found is None or not files:
        fix = "install the kit's wheel, or use a checkout"
        raise MissingError(f"{SOURCE}: holds no {_NAME} that was installed from a wheel; {fix}")
    contents = {file.as_posix(): Path(str(found.locate_file(file))).read_bytes() for file in sorted(files)}
    record = next(name for name in contents if name.endswith(".dist-info/METADATA")).replace("METADATA", "RECORD")
    rows = [f"{name},sha256={_record_hash(content)},{len(content)}" for name, content in contents.items()]
    contents[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    out.mkdir(parents=True, exist_ok=True)
    wheel = out / f"{_NAME.replace('-', '_')}-{found.version}-py3-none-any.whl"
    with ZipFile(wheel, "w", ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(ZipInfo(name), content, ZIP_DEFLATED)
    return wheel


def _is_of_wheel(file: PurePath) -> bool:
    """Whether an installed file came with the wheel: of its packages, and what it says of itself."""
    is_told = file.parts[0].endswith(".dist-info") and file.name not in _OF_INSTALLER
    return is_told or (file.parts[0] == "kit" and file.suffix != ".pyc")


def _record_hash(content: bytes) -> str:
    """As RECORD has it. Source: packaging.python.org, "Recording installed projects"."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _built(out: Path) -> Path:
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
    """The checkout's commit, with `+changes` if files differ from it; `unknown` outside git and without a checkout."""
    git = ["git", "-C", str(SOURCE)]
    if not IS_CHECKOUT or shutil.which("git") is None:
        return "unknown"
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "unknown"
    status = [*git, "status", "--porcelain", "--untracked-files=no"]
    changes = subprocess.run(status, capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
