"""A resolved set of wheels as a lock by PEP 751, `pylock.TARGET.toml`: a file a package, with its size and SHA-256.

A wheel's path is its bare name, so the lock holds beside its wheels, where uv installs from it as it is, and names no
index: whoever fetches uses their own. The table `tool.mathllm-kit` repeats the target, because a machine on Kaggle
has this file and not `targets.toml`. For pip, the same set is exported as requirements with hashes. The same set
always gives the same bytes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from kit.errors import InputError, MissingError
from kit.kaggle.transfer import storing
from kit.kaggle.wheels.target import Target

_TOOL = "mathllm-kit"
_RELOCK = "make the lock anew with `kit wheels lock --target NAME`, from an index that gives sizes and SHA-256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One file. name: normalised. sha256: in hexadecimal."""

    name: str
    version: str
    file: str
    size_bytes: int
    sha256: str


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
        head = [
            "# Wheels of one target of targets.toml, made by `kit wheels lock`; do not edit.",
            'lock-version = "1.0"\ncreated-by = "kit wheels lock"',
            f'requires-python = "=={self.target.python}.*"\n\n[tool.{_TOOL}]',
            *(f"{key} = {_toml(value)}" for key, value in asdict(self.target).items() if value is not None),
        ]
        with storing(path):
            path.write_text("\n".join([*head, *map(_package, self.wheels)]) + "\n", encoding="utf-8")

    def requirements(self) -> str:
        """The set as pip takes it with --require-hashes."""
        return "".join(f"{each.name}=={each.version} --hash=sha256:{each.sha256}\n" for each in self.wheels)


def lock_path(wheels: Path, target: str) -> Path:
    """Where the folder `wheels` keeps the lock of a target."""
    return wheels / f"pylock.{target}.toml"


def requirements_path(folder: Path, target: str) -> Path:
    """Where a folder of fetched wheels keeps the export for pip."""
    return folder / f"requirements-{target}.txt"


def load_lock(path: Path) -> Lock:
    """Read a lock.

    Raises: MissingError if there is none; InputError if it is no lock of wheels that fit its target.
    """
    target = locked_target(path)
    return Lock(target, wheels_of(_read(path), target, source=path))


def locked_target(path: Path) -> Target:
    """What a lock is for; needs the standard library and `packaging` of any age.

    Raises: as `load_lock`.
    """
    content = _read(path)
    try:
        head: dict[str, Any] = content.get("tool", {}).get(_TOOL, {})
        values: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in head.items()}
        return Target(**values)
    except (AttributeError, TypeError) as error:
        raise InputError(f"{path}: its table tool.{_TOOL} tells no target ({error}); {_RELOCK}") from None


def wheels_of(content: Mapping[str, Any], target: Target, *, source: Path | str) -> tuple[Wheel, ...]:
    """Of each package of a lock, the wheel that fits the target best, sorted by name.

    Raises: InputError naming `source` for what is no lock, or a package without a wheel for the target.
    """
    from packaging.pylock import (  # here, because only who reads a lock needs a `packaging` of 2026
        Package,
        PackageWheel,
        Pylock,
        PylockSelectError,
        PylockValidationError,
    )  # fmt: skip

    def wheel(package: Package, found: object) -> Wheel:
        if not isinstance(found, PackageWheel) or found.size is None or "sha256" not in found.hashes:
            raise InputError(f"{source}: {package.name} has no wheel with size and SHA-256; {_RELOCK}")
        if found.path not in (None, found.filename):
            raise InputError(f"{source}: {found.path!r} leads out of the folder; {_RELOCK}")
        return Wheel(
            name=package.name,
            version=str(package.version),
            file=found.filename,
            size_bytes=found.size,
            sha256=found.hashes["sha256"],
        )

    try:
        chosen = Pylock.from_dict(content).select(environment=cast("Any", target.markers()), tags=target.tags())
        return tuple(sorted((wheel(*each) for each in chosen), key=lambda each: each.name))
    except PylockSelectError as error:
        fix = "keep it to a version that has one, in the target's constraints, and lock anew"
        raise InputError(f"{source}: does not fit {target.name} ({error}); {fix}") from None
    except PylockValidationError as error:
        raise InputError(f"{source}: not a lock ({error}); {_RELOCK}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path}: not found; make it with `kit wheels lock --target NAME`") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or nested without end
        raise InputError(f"{path}: not valid TOML ({error}); {_RELOCK}") from None


def _package(wheel: Wheel) -> str:
    file = f"path = {_toml(wheel.file)}, size = {wheel.size_bytes}, hashes = {{ sha256 = {_toml(wheel.sha256)} }}"
    return f"\n[[packages]]\nname = {_toml(wheel.name)}\nversion = {_toml(wheel.version)}\nwheels = [{{ {file} }}]"


def _toml(value: object) -> str:
    """Text, or a list of texts, which TOML writes as JSON does."""
    return json.dumps(value, indent=1 if value else None)
