"""A resolved set of wheels as text: one line a wheel, which pip and uv read as a requirements file with hashes.

    # target: cpu
    # python: 3.11
    …
    anyio==4.16.0 --hash=sha256:59bb…  # anyio-4.16.0-py3-none-any.whl 114502

The head repeats the target, because a machine on Kaggle has this file and not `targets.toml`. No address of an
index is in it: whoever fetches uses their own. The same set always gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from kit.errors import InputError, MissingError, cannot_write
from kit.kaggle.wheels.target import Target

_TITLE = "# Wheels of one target of targets.toml, made by `kit wheels lock`; do not edit."
_WHEEL = re.compile(r"(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})  # (\S+\.whl) (\d+)")
_ONE = ("target", "python", "glibc", "cuda")
_MANY = ("requirement", "constraint")
_NO_CUDA = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One file. name: normalised. sha256: in hexadecimal."""

    name: str
    version: str
    file: str
    size_bytes: int
    sha256: str

    def tags(self) -> frozenset[Tag]:
        """The machines it is for."""
        return parse_wheel_filename(self.file)[3]


@dataclass(frozen=True, slots=True)
class Lock:
    """A target's wheels, sorted by name, one of each name."""

    target: Target
    wheels: tuple[Wheel, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all wheels, as they are downloaded."""
        return sum(wheel.size_bytes for wheel in self.wheels)

    def save(self, path: Path) -> None:
        """Write the lock.

        Raises: StorageError if it cannot be written.
        """
        target = self.target
        head = [
            _TITLE,
            *(f"# {key}: {value}" for key, value in _head_of(target)),
            *(f"# requirement: {text}" for text in target.requirements),
            *(f"# constraint: {text}" for text in target.constraints),
        ]
        try:
            path.write_text("\n".join([*head, *map(_line, self.wheels)]) + "\n", encoding="utf-8")
        except OSError as error:
            raise cannot_write(path, error) from error


def lock_path(wheels: Path, target: str) -> Path:
    """Where the folder `wheels` keeps the lock of a target."""
    return wheels / f"lock-{target}.txt"


def load_lock(path: Path) -> Lock:
    """Read a lock.

    Raises: MissingError if there is none; InputError naming the line that is not of a lock.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise MissingError(f"{path}: not found; make it with `kit wheels lock --target NAME`") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; make the lock anew") from None
    wheels = tuple(_wheel(path, line) for line in lines if not line.startswith("#"))
    names = [wheel.name for wheel in wheels]
    if names != sorted(set(names)):
        raise InputError(f"{path}: its wheels are not sorted, or one is there twice; make the lock anew")
    return Lock(_target(path, (line for line in lines if line.startswith("#"))), wheels)


def _head_of(target: Target) -> Iterable[tuple[str, str]]:
    return zip(_ONE, (target.name, target.python, target.glibc, target.cuda or _NO_CUDA), strict=True)


def _line(wheel: Wheel) -> str:
    return f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}  # {wheel.file} {wheel.size_bytes}"


def _wheel(path: Path, line: str) -> Wheel:
    found = _WHEEL.fullmatch(line)
    if found is None:
        raise InputError(f"{path}: {line[:80]!r} is not a line of a lock; make the lock anew")
    name, version, sha256, file, size_bytes = found.groups()
    try:
        own_name, own_version, _, _ = parse_wheel_filename(file)
        same = own_name == name == canonicalize_name(name) and own_version == Version(version)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise InputError(f"{path}: {file!r} is not a wheel's name ({error}); make the lock anew") from None
    if not same or "/" in file:
        raise InputError(f"{path}: {file!r} is not {name} {version}; make the lock anew")
    return Wheel(name=name, version=version, file=file, size_bytes=int(size_bytes), sha256=sha256)


def _target(path: Path, head: Iterable[str]) -> Target:
    values: dict[str, list[str]] = {key: [] for key in (*_ONE, *_MANY)}
    for line in head:
        key, _, value = line.removeprefix("# ").partition(": ")
        if key in values:
            values[key].append(value)
    if any(len(values[key]) != 1 for key in _ONE):
        raise InputError(f"{path}: its head must say {', '.join(_ONE)} once each; make the lock anew")
    name, python, glibc, cuda = (values[key][0] for key in _ONE)
    return Target(
        name=name,
        python=python,
        glibc=glibc,
        cuda=None if cuda == _NO_CUDA else cuda,
        requirements=tuple(values["requirement"]),
        constraints=tuple(values["constraint"]),
    )
