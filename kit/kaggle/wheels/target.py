"""What a wheelhouse is for, and what follows from it: the tags a wheel may have, the markers that hold.

In: `targets.toml` and the kit's `pyproject.toml`. Out: `Target`. Only CPython on Linux x86-64. Source of tags
and markers: packaging.python.org, "Platform compatibility tags" and "Dependency specifiers".
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name

from kit.errors import InputError, MissingError, check_fields

TARGETS_NAME = "targets.toml"
_OLDEST_GLIBC_MINOR = 5  # manylinux1: PEP 513
_LEGACY = {17: "manylinux2014_x86_64", 12: "manylinux2010_x86_64", 5: "manylinux1_x86_64"}  # PEP 600
_KEYS = frozenset({"like", "python", "glibc", "cuda", "extras", "without", "requirements", "constraints"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A machine and what shall run on it.

    python: "3.12". glibc: the newest C library a wheel may ask for, "2.34". cuda: "13.0", None for none.
    requirements, constraints: in the words of pip, sorted; the extras of the kit are already among them.
    """

    name: str
    python: str
    glibc: str
    cuda: str | None = None
    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("name", bool(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name)), "words of a-z and 0-9 joined by -"),
                ("python", bool(re.fullmatch(r"3\.\d+", self.python)), "a version like 3.12"),
                ("glibc", bool(re.fullmatch(r"2\.\d+", self.glibc)), "a version like 2.34"),
                ("cuda", self.cuda is None or bool(re.fullmatch(r"\d+\.\d+", self.cuda)), "a version like 13.0"),
                ("requirements", bool(self.requirements), "at least one requirement"),
            ),
        )
        for text in (*self.requirements, *self.constraints):
            parsed(text, source=self.name)

    @property
    def platform(self) -> str:
        """As uv's --python-platform takes it."""
        return f"x86_64-manylinux_{self.glibc.replace('.', '_')}"

    def platforms(self) -> list[str]:
        """The platform tags of Linux x86-64 with this C library or an older one, the newest first."""
        minors = range(major_minor(self.glibc)[1], _OLDEST_GLIBC_MINOR - 1, -1)
        named = ((f"manylinux_2_{minor}_x86_64", _LEGACY.get(minor)) for minor in minors)
        return [*(name for pair in named for name in pair if name is not None), "linux_x86_64"]

    def tags(self) -> tuple[Tag, ...]:
        """Every tag a wheel may have, the best first."""
        python = major_minor(self.python)
        interpreter = f"cp{python[0]}{python[1]}"
        platforms = self.platforms()
        best = cpython_tags(python, abis=[interpreter], platforms=platforms)
        return (*best, *compatible_tags(python, interpreter=interpreter, platforms=platforms))

    def markers(self) -> dict[str, str]:
        """The environment in which markers are evaluated; the patch version of Python is its first, as for uv."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def load_target(name: str, *, targets: Path, project: Path) -> Target:
    """The target `name` of the file `targets`, with the requirements of the `project`'s pyproject.toml.

    Raises: MissingError for a file or target that is not there; InputError for one that makes no sense.
    """
    tables = _read_toml(targets)
    table = _whole(name, tables, targets)
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise InputError(f"{targets}: {name} has no setting {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}")
    try:
        requirements = {*_of_extras(table, project), *table.get("requirements", ())}
        return Target(
            name=name,
            python=table["python"],
            glibc=table["glibc"],
            cuda=table.get("cuda"),
            requirements=tuple(sorted(requirements)),
            constraints=tuple(sorted(table.get("constraints", ()))),
        )
    except KeyError as error:
        raise InputError(f"{targets}: {name} says nothing of {error}; add it") from None
    except TypeError as error:
        raise InputError(f"{targets}: {name} has a value of the wrong kind ({error})") from None


def parsed(requirement: str, *, source: str) -> Requirement:
    """A requirement in pip's words.

    Raises: InputError naming `source` if it is none.
    """
    try:
        return Requirement(requirement)
    except InvalidRequirement as error:
        raise InputError(f"{source}: {requirement!r} is no requirement ({error})") from None


def _whole(name: str, tables: Mapping[str, Any], targets: Path) -> dict[str, Any]:
    """The table of a target with what it takes from another by `like`."""
    if name not in tables:
        raise MissingError(f"{targets}: has no target {name!r}; known: {', '.join(tables)}")
    own = dict(tables[name])
    base = own.pop("like", None)
    if base is None:
        return own
    if base == name:
        raise InputError(f"{targets}: {name} is like itself; name another target, or leave `like` out")
    return {**_whole(base, {key: table for key, table in tables.items() if key != name}, targets), **own}


def _of_extras(table: Mapping[str, Any], project: Path) -> list[str]:
    """The requirements of the kit and of the extras that the target names, less those it leaves out."""
    content = _read_toml(project / "pyproject.toml")["project"]
    extras = content["optional-dependencies"]
    lists = [content["dependencies"]]
    for extra in table.get("extras", ()):
        if extra not in extras:
            raise InputError(f"{project / 'pyproject.toml'}: has no extra {extra!r}; known: {', '.join(extras)}")
        lists.append(extras[extra])
    left_out = {canonicalize_name(each) for each in table.get("without", ())}
    every = [text for each in lists for text in each]
    return [text for text in every if canonicalize_name(parsed(text, source="pyproject.toml").name) not in left_out]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path}: not found; run this in a checkout of the kit") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML ({error})") from None


def major_minor(version: str) -> tuple[int, int]:
    """The first two numbers of a version."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
