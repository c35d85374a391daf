"""From a folder of wheels to an environment of its own, on a machine without a network.

First `check_host`: whether this machine is the one that the wheels are for, and what to do if it is not. The
environment is a venv that sees none of Kaggle's own packages (which clash with vLLM's: docs/kaggle.md#image),
so nothing there is uninstalled. Whoever starts its Python must not hand on PYTHONPATH.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.cuda import driver_cuda
from kit.errors import InputError, MissingError
from kit.kaggle.transfer import sha256_of, storing
from kit.kaggle.wheels.installers import undirected, uv_command
from kit.kaggle.wheels.lockfile import locked_target, requirements_path
from kit.kaggle.wheels.target import Target, major_minor

_MARK = "kit-environment.txt"  # in a finished environment: what it was made from
_BORROWED = "kit-borrowed.pth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What this machine has. glibc, cuda: major and minor; cuda is the newest that the driver runs, None without."""

    python: tuple[int, int]
    machine: str
    glibc: tuple[int, int] | None
    cuda: tuple[int, int] | None

    @classmethod
    def here(cls) -> Host:
        """The machine and the Python that run this."""
        name, version = platform.libc_ver()
        return cls(
            python=sys.version_info[:2],
            machine=platform.machine(),
            glibc=major_minor(version) if name == "glibc" else None,
            cuda=driver_cuda(),
        )


def check_host(target: Target, host: Host) -> None:
    """Refuse wheels that are not for this machine, before they are installed.

    A machine without a driver passes, so that a notebook can be edited without a GPU. Of CUDA only the major number
    counts: an older driver of the same one runs it ("minor version compatibility", NVIDIA's CUDA Compatibility guide).
    Raises: InputError that says what is here, what the wheels are for, and what to do.
    """
    if (host.machine, host.python) != ("x86_64", major_minor(target.python)):
        raise InputError(_other_python(target, host))
    if host.glibc is None or host.glibc < major_minor(target.glibc):
        here = "another C library" if host.glibc is None else f"glibc {_text(host.glibc)}"
        fix = "choose a newer image for the notebook, or lower `glibc` in targets.toml and lock anew"
        raise InputError(f"target {target.name}: the wheels may ask for glibc {target.glibc}, here is {here}; {fix}")
    if target.cuda is not None and host.cuda is not None and host.cuda[0] < major_minor(target.cuda)[0]:
        here = f"the driver runs CUDA up to {_text(host.cuda)}"
        fix = f"build the dataset from a target of CUDA {host.cuda[0]} in targets.toml"
        raise InputError(f"target {target.name}: the wheels are for CUDA {target.cuda}, {here}; {fix}")


def install_from(folder: Path, lock: Path, into: Path, *, borrow: Sequence[Path] = ()) -> Path:
    """Make the environment `into` from the wheels in `folder` and the export for pip beside them; returns its Python.

    One that was made from this very lock is kept; any other is replaced. Hashes are checked by the installer: uv
    where there is one (34-40 s for vLLM against pip's 6 min: docs/kaggle.md#image), else pip.
    borrow: folders of packages, or pure wheels, that come after the environment's own: for what no index has
    (the kit itself; torch for the CPU).
    Raises: InputError for another machine's wheels, or what the installer refuses; MissingError or InputError for
    a lock or export that is not there or damaged; StorageError if `into` cannot be written.
    """
    target = locked_target(lock)
    check_host(target, Host.here())
    python, mark = into / "bin" / "python", into / _MARK
    paths = "".join(f"{each}\n" for each in borrow)
    recipe = f"{sha256_of(lock)}\n{paths}"
    if mark.is_file() and mark.read_text(encoding="utf-8") == recipe:
        return python
    _check_replaceable(into)
    with storing(into):
        venv.create(into, clear=True, symlinks=True, with_pip=False)  # Kaggle has no ensurepip
        _install(folder, requirements_path(folder, target.name), into)
        (_site_packages(into, target) / _BORROWED).write_text(paths, encoding="utf-8")
        mark.write_text(recipe, encoding="utf-8")
    return python


def _check_replaceable(into: Path) -> None:
    """Refuse to replace anything but an environment, whole or begun."""
    if into.exists() and not (into / "pyvenv.cfg").is_file() and (into.is_file() or any(into.iterdir())):
        raise InputError(f"{into}: holds files but no environment; choose an empty folder")


def _install(folder: Path, requirements: Path, into: Path) -> None:
    if not requirements.is_file():
        raise MissingError(f"{requirements}: not found; `kit wheels fetch` writes it")
    uv, python = uv_command(), str(into / "bin" / "python")
    cache = into / "uv-cache"  # on the same disk, so that files are linked and not copied
    if uv is None:
        command = [sys.executable, "-P", "-m", "pip", "--python", python, "install", "--no-compile"]
    else:
        command = [*uv, "pip", "install", "--python", python, "--no-config", "--offline", "--cache-dir", str(cache)]
    source = ["--no-index", "--find-links", str(folder), "--no-deps"]
    whole = [*command, "--quiet", *source, "--require-hashes", "--requirement", str(requirements)]
    done = subprocess.run(whole, capture_output=True, text=True, check=False, env=undirected(os.environ))
    shutil.rmtree(cache, ignore_errors=True)
    if done.returncode:
        fix = "prove the folder with `kit wheels check`, then build and upload the dataset again"
        raise InputError(f"{folder}: its wheels do not install; {fix}:\n{done.stderr.strip()[-2000:]}")


def _other_python(target: Target, host: Host) -> str:
    here = f"Python {_text(host.python)} on {host.machine}"
    name = target.name.replace(f"cp{target.python.replace('.', '')}", f"cp{host.python[0]}{host.python[1]}")
    anew = f"build the dataset with `--wheels {name}` (a target of wheels/targets.toml) and upload it again"
    if name == target.name:
        anew = "use the target's Python"
    return (
        f"target {target.name}: the wheels are for Python {target.python} on x86_64, here is {here}; {anew}, "
        f"or pin the notebook to an image with Python {target.python}"
    )


def _site_packages(into: Path, target: Target) -> Path:
    return into / "lib" / f"python{target.python}" / "site-packages"


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
