"""The proof that a folder of wheels is enough: an install from it alone would find all, and no conflict.

Every byte is hashed; then an installer is asked in a dry run for the target's tags and markers, with the folder and
no index: uv for any target, pip for one of its own Python. uv takes no notice of an upper bound on Python, at which
pip would refuse the install, so that is read from the wheels. Not proved: that the packages work together once they
are imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from enum import StrEnum
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from kit.kaggle.transfer import sha256_of, size_of
from kit.kaggle.wheels.installers import undirected, uv_command
from kit.kaggle.wheels.lockfile import Lock
from kit.kaggle.wheels.target import Target


class Witness(StrEnum):
    """Which installer was asked."""

    UV = "uv's dry run for the target"
    PIP = "pip's dry run, on this Python, which is the target's"
    NOBODY = "no installer"


@dataclass(frozen=True, slots=True)
class Closure:
    """What was found; complete and without conflict if there are no faults."""

    faults: tuple[str, ...]
    witness: Witness


def check(lock: Lock, folder: Path) -> Closure:
    """Whether `folder` holds everything that the lock's target needs; nothing is installed, no index is asked."""
    faults = (*damaged(lock, folder), *refused_pythons(lock, folder))
    for witness, command in _witnesses(lock.target):
        explanation = _dry_run(lock, folder, command)
        return Closure((*faults, explanation) if explanation else faults, witness)
    fix = f"install uv (`{sys.executable} -m pip install uv`), or use Python {lock.target.python}"
    return Closure((*faults, f"not proved: uv is not here, and this Python is not the target's; {fix}"), Witness.NOBODY)


def damaged(lock: Lock, folder: Path) -> Iterator[str]:
    """Each locked file that is not in the folder, or is not the locked one; reads every byte."""
    for wheel in lock.wheels:
        path = folder / wheel.file
        if not path.is_file():
            yield f"{wheel.file}: missing; get it with `kit wheels fetch --target {lock.target.name}`"
        elif size_of(path) != wheel.size_bytes or sha256_of(path) != wheel.sha256:
            yield f"{wheel.file}: not the locked file; `kit wheels fetch --target {lock.target.name}` gets it anew"


def refused_pythons(lock: Lock, folder: Path) -> Iterator[str]:
    """Each wheel that pip would not install for the target's Python."""
    for wheel in lock.wheels:
        wanted = _requires_python(folder / wheel.file)
        try:
            fits = SpecifierSet(wanted).contains(lock.target.markers()["python_full_version"], prereleases=True)
        except InvalidSpecifier:
            yield f"{wheel.file}: its Requires-Python is {wanted!r}, which is none"
            continue
        if not fits:
            yield f"{wheel.name} {wheel.version} needs Python {wanted}, the target has {lock.target.python}"


def _requires_python(path: Path) -> str:
    """What a wheel's metadata says; "" for nothing, and for a file that is missing or damaged (`damaged`)."""
    try:
        with ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            return HeaderParser().parsestr(archive.read(name).decode("utf-8"))["Requires-Python"] or ""
    except (FileNotFoundError, BadZipFile, UnicodeDecodeError, StopIteration):
        return ""


def _witnesses(target: Target) -> Iterator[tuple[Witness, Sequence[str]]]:
    """The installers of this machine that can be asked about the target, the best first."""
    uv = uv_command()
    if uv is not None:
        tags = ("--python-platform", target.platform, "--python-version", target.python)
        yield Witness.UV, (*uv, "pip", "install", "--no-config", "--offline", "--python", sys.executable, *tags)
    if target.python == f"{sys.version_info.major}.{sys.version_info.minor}":  # pip takes its own Python's markers
        abis = (option for abi in (f"cp{target.python.replace('.', '')}", "abi3", "none") for option in ("--abi", abi))
        platforms = (option for name in target.platforms() for option in ("--platform", name))
        command = (sys.executable, "-P", "-m", "pip", "install", "--python-version", target.python, *abis, *platforms)
        yield Witness.PIP, command


def _dry_run(lock: Lock, folder: Path, command: Sequence[str]) -> str:
    """What an installer says against the set, "" for nothing; it is asked for the roots and for every pin."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted, limits = Path(scratch) / "requirements.txt", Path(scratch) / "constraints.txt"
        pins = (f"{wheel.name}=={wheel.version}" for wheel in lock.wheels)
        wanted.write_text("\n".join((*lock.target.requirements, *pins)) + "\n", encoding="utf-8")
        limits.write_text("\n".join(lock.target.constraints) + "\n", encoding="utf-8")
        source = ("--no-index", "--find-links", str(folder), "--only-binary", ":all:")
        into = ("--target", str(Path(scratch) / "target"), "--constraint", str(limits), "--requirement", str(wanted))
        whole = [*command, "--dry-run", "--quiet", *source, *into]
        done = subprocess.run(whole, capture_output=True, text=True, check=False, env=undirected(os.environ))
    return done.stderr.strip() if done.returncode else ""
