"""The proof that a folder of wheels is enough: an install from it alone would find all, and no conflict.

Asked twice: of the wheels' own metadata, with the target's markers, which works on any machine; and of an
installer in a dry run for the target's tags, where there is one. The two must agree; either one's fault counts.
Not proved: that the packages work together once they are imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from enum import StrEnum
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from kit.kaggle.digest import sha256_of
from kit.kaggle.wheels.installers import undirected, uv_command
from kit.kaggle.wheels.lockfile import Lock, Wheel
from kit.kaggle.wheels.target import Target, parsed


class Witness(StrEnum):
    """Who was asked besides the metadata."""

    UV = "uv's dry run for the target"
    PIP = "pip's dry run, on this Python, which is the target's"
    NOBODY = "no installer: uv is not here, and this Python is not the target's"


@dataclass(frozen=True, slots=True)
class Closure:
    """What was found; complete and without conflict if there are no faults."""

    faults: tuple[str, ...]
    witness: Witness


def check(lock: Lock, folder: Path) -> Closure:
    """Whether `folder` holds everything that the lock's target needs; nothing is installed, no index is asked."""
    faults = (*damaged(lock, folder), *conflicts(lock, folder))
    for witness, command in _witnesses(lock.target):
        explanation = _dry_run(lock, folder, command)
        return Closure((*faults, explanation) if explanation else faults, witness)
    return Closure(faults, Witness.NOBODY)


def damaged(lock: Lock, folder: Path) -> Iterator[str]:
    """Each locked file that is not in the folder, or is not the locked one; reads every byte."""
    for wheel in lock.wheels:
        path = folder / wheel.file
        if not path.is_file():
            yield f"{wheel.file}: missing; get it with `kit wheels fetch --target {lock.target.name}`"
        elif path.stat().st_size != wheel.size_bytes or sha256_of(path) != wheel.sha256:
            yield f"{wheel.file}: not the locked file; `kit wheels fetch --target {lock.target.name}` gets it anew"


def conflicts(lock: Lock, folder: Path) -> Iterator[str]:
    """Each requirement that the locked set does not meet, by the metadata of the wheels in the folder."""
    target, tags = lock.target, frozenset(lock.target.tags())
    having = {wheel.name: wheel for wheel in lock.wheels}
    metadata = {wheel.name: _metadata(folder / wheel.file) for wheel in lock.wheels}
    for wheel in lock.wheels:
        if not wheel.tags() & tags:
            yield f"{wheel.file}: its tags are not {target.name}'s"
        yield from _own_faults(wheel, metadata[wheel.name], target)
    for text in target.constraints:
        limit = parsed(text, source=target.name)
        if canonicalize_name(limit.name) in having:
            yield from _unmet(limit, having, asker=f"a constraint of {target.name}")
    for asker, requirement in _requirements(target, metadata):
        yield from _unmet(requirement, having, asker=asker)


def _own_faults(wheel: Wheel, metadata: Message | None, target: Target) -> Iterator[str]:
    """What a wheel's metadata says against itself or the target's Python."""
    if metadata is None:
        return  # missing or damaged, which is told elsewhere
    if (canonicalize_name(metadata["Name"] or ""), metadata["Version"]) != (wheel.name, wheel.version):
        yield f"{wheel.file}: calls itself {metadata['Name']} {metadata['Version']}"
    try:
        pythons = SpecifierSet(metadata["Requires-Python"] or "")
    except InvalidSpecifier:
        yield f"{wheel.file}: its Requires-Python is {metadata['Requires-Python']!r}, which is none"
        return
    if not pythons.contains(target.markers()["python_full_version"], prereleases=True):
        yield f"{wheel.name} {wheel.version} needs Python {pythons}, the target has {target.python}"


def _requirements(target: Target, metadata: Mapping[str, Message | None]) -> Iterator[tuple[str, Requirement]]:
    """Every requirement that holds for the target, with who asks: from the roots and from every wheel down."""
    markers = target.markers()
    waiting = [(target.name, parsed(text, source=target.name)) for text in target.requirements]
    waiting += [(target.name, Requirement(name)) for name in metadata]
    seen: set[tuple[str, str]] = set()
    while waiting:
        asker, requirement = waiting.pop()
        yield asker, requirement
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(name, each) for each in _required(metadata.get(name), {**markers, "extra": extra})]


def _required(metadata: Message | None, markers: Mapping[str, str]) -> list[Requirement]:
    if metadata is None:
        return []
    every = (parsed(text, source=metadata["Name"]) for text in metadata.get_all("Requires-Dist", ()))
    return [each for each in every if each.marker is None or each.marker.evaluate(dict(markers))]


def _unmet(requirement: Requirement, having: Mapping[str, Wheel], *, asker: str) -> Iterator[str]:
    wheel = having.get(canonicalize_name(requirement.name))
    if requirement.url is not None:
        yield f"{asker} needs {requirement.name} from an address, which no folder can give"
    elif wheel is None:
        yield f"{asker} needs {requirement}, the lock has none"
    elif not requirement.specifier.contains(wheel.version, prereleases=True):
        yield f"{asker} needs {requirement}, the lock has {wheel.version}"


def _metadata(path: Path) -> Message | None:
    """A wheel's METADATA; None for a file that is missing or no wheel."""
    try:
        with ZipFile(path) as wheel:
            names = [name for name in wheel.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA")]
            return HeaderParser().parsestr(wheel.read(names[0]).decode("utf-8")) if len(names) == 1 else None
    except (FileNotFoundError, BadZipFile, UnicodeDecodeError):
        return None


def _witnesses(target: Target) -> Iterator[tuple[Witness, Sequence[str]]]:
    """The installers of this machine that can be asked about the target, the best first."""
    uv = uv_command()
    if uv is not None:
        tags = ("--python-platform", target.platform, "--python-version", target.python)
        yield Witness.UV, (*uv, "pip", "install", "--no-config", "--offline", "--python", sys.executable, *tags)
    if target.python == f"{sys.version_info.major}.{sys.version_info.minor}":  # pip takes its own Python's markers
        yield Witness.PIP, (sys.executable, "-P", "-m", "pip", "install", *_pip_tags(target))


def _pip_tags(target: Target) -> Iterable[str]:
    abi = f"cp{target.python.replace('.', '')}"
    platforms = (option for name in target.platforms() for option in ("--platform", name))
    return ("--python-version", target.python, "--abi", abi, "--abi", "abi3", "--abi", "none", *platforms)


def _dry_run(lock: Lock, folder: Path, command: Sequence[str]) -> str:
    """What an installer says against the set, "" for nothing; it is asked for the roots and for every pin."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "requirements.txt"
        pins = (f"{wheel.name}=={wheel.version}" for wheel in lock.wheels)
        wanted.write_text("\n".join((*lock.target.requirements, *pins)) + "\n", encoding="utf-8")
        source = ("--no-index", "--find-links", str(folder), "--only-binary", ":all:")
        into = ("--target", str(Path(scratch) / "target"))
        whole = [*command, "--dry-run", "--quiet", *source, *into, "--requirement", str(wanted)]
        done = subprocess.run(whole, capture_output=True, text=True, check=False, env=undirected(os.environ))
    return done.stderr.strip() if done.returncode else ""
