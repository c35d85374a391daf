"""Settings from the outside, checked; and the facts about a machine that head every record.

`replaced` is the one way a setting given by name (JSON, a flag) reaches a config dataclass: unknown
names raise and name the nearest known one. Does not read the environment or any file by itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from kit.errors import InputError, SettingError
from kit.json_text import read_json

_Config = TypeVar("_Config")

_PACKAGES = ("mathllm-kit", "torch", "transformers", "vllm", "trio", "polars", "grpcio")


def replaced(config: _Config, changes: Mapping[str, Any], *, within: str = "") -> _Config:
    """`config` with the fields named in `changes` set; a nested mapping changes a nested config.

    within: what stands before a field's name in messages, such as `solver.`.
    Raises: SettingError, naming the setting whole, for one that is no field or a value that the config refuses.
    """
    values: dict[str, Any] = {}
    kinds = get_type_hints(type(config))
    for name, value in changes.items():
        _check_name(config, name, within)
        current = getattr(config, name)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                text = f"{within}{name} is a group of settings: {', '.join(_names(current))}; got {value!r}"
                raise SettingError(text, name=within + name)
            values[name] = replaced(current, value, within=f"{within}{name}.")
        elif (group := _group(kinds[name])) is not None and isinstance(value, Mapping):
            values[name] = _made(group, value, within=f"{within}{name}.")
        elif _fits(value, kinds[name]):
            values[name] = tuple(value) if isinstance(value, list) else value
        else:
            raise _of_wrong_kind(within + name, value, kinds[name])
    with _named_whole(within):
        return dataclasses.replace(config, **values)  # type: ignore[type-var]  # every config is a dataclass


@contextmanager
def _named_whole(within: str) -> Iterator[None]:
    """What a config refuses of its own fields, with the name that the user sets."""
    try:
        yield
    except SettingError as error:
        text = f"{within}{error}" if str(error).startswith(error.name) else str(error)
        raise SettingError(text, name=within + error.name) from None


def _of_wrong_kind(name: str, value: Any, kind: Any) -> SettingError:
    return SettingError(f"{name} must be {_wanted(kind)}, got {value!r}", name=name)


def _group(kind: Any) -> type[Any] | None:
    """The config in an annotation such as `Speculation | None`, which stands at None until it is set whole."""
    return next((each for each in get_args(kind) if isinstance(each, type) and dataclasses.is_dataclass(each)), None)


def _made(group: type[_Config], values: Mapping[str, Any], *, within: str) -> _Config:
    """A config from values alone; those without a default must be among them."""
    known = dataclasses.fields(group)  # type: ignore[arg-type]
    needed = [
        field.name
        for field in known
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if absent := [name for name in needed if name not in values]:
        text = f"{within}{absent[0]} must be set with the others of its group: {', '.join(needed)}"
        raise SettingError(text, name=within + absent[0])
    kinds = get_type_hints(group)
    for name, value in values.items():
        if name not in kinds:
            text = f"there is no setting {within + name!r}; known: {', '.join(kinds)}"
            raise SettingError(text, name=within + name)
        if not _fits(value, kinds[name]):
            raise _of_wrong_kind(within + name, value, kinds[name])
    with _named_whole(within):
        return group(**values)


def nested(assignments: Sequence[str]) -> Mapping[str, Any]:
    """`["solver.width=4"]` as `{"solver": {"width": 4}}`; values are JSON, or text where they are not.

    Raises: InputError for an assignment without a name or a `=`.
    """
    result: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not (name and equals):
            raise InputError(f"--set {assignment!r}: expected NAME=VALUE, for example solver.width=4")
        *groups, last = name.split(".")
        place = result
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise InputError(f"--set {assignment!r}: {group!r} was already given a value")
        value = _value(text)
        is_more = isinstance(value, Mapping) and isinstance(place.get(last), Mapping)
        place[last] = merged(place[last], value) if is_more else value
    return result


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other, the last one winning."""
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(result.get(name, {}), Mapping)
            result[name] = merged(result.get(name, {}), value) if both else value
    return result


def _value(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError:
        return text


def machine_facts() -> dict[str, Any]:
    """Package versions and hardware, for the head of a record."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": _gpus(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }


def flattened(config: object, *, within: str = "") -> dict[str, Any]:
    """The value of every setting of a config and of those nested in it, by the name that `replaced` takes."""
    values: dict[str, Any] = {}
    for name in _names(config):
        value = getattr(config, name)
        is_group = dataclasses.is_dataclass(value)
        values |= flattened(value, within=f"{within}{name}.") if is_group else {within + name: value}
    return values


def _names(config: object) -> list[str]:
    return [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]


def _check_name(config: object, name: str, within: str) -> None:
    names = _names(config)
    if name not in names:
        near = [within + each for each in _near(config, name)]
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(names)}"
        raise SettingError(f"there is no setting {within + name!r}; {hint}", name=within + name)


def _near(config: object, name: str) -> list[str]:
    """The setting of nearly this name here; else those in the groups within, such as `sampling.temperature`."""
    if here := difflib.get_close_matches(name, _names(config), n=1):
        return here
    last_parts = {each: each.rpartition(".")[2] for each in flattened(config)}
    close = difflib.get_close_matches(name, last_parts.values(), n=1)
    return [each for each, last in last_parts.items() if last in close]


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value may stand for a field annotated so; an int may stand for a float, a bool for neither."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:  # of any length, as in tuple[int, ...]; JSON gives a list
        return isinstance(value, (tuple, list)) and all(_fits(each, get_args(kind)[0]) for each in value)
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(kind))
    if isinstance(value, bool):
        return kind is bool
    if kind is float:  # no setting is endless, and a wait of that length raises
        return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max
    return isinstance(value, kind)


def _wanted(kind: Any) -> str:
    """A kind in words for the one who typed the value."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a list, each {_wanted(get_args(kind)[0])}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_wanted(each) for each in get_args(kind))
    if dataclasses.is_dataclass(kind):
        return f"a group of settings ({', '.join(field.name for field in dataclasses.fields(kind))})"
    return {
        int: "an integer",
        float: "a finite number",
        str: "a text",
        bool: "true or false",
        NoneType: "null",
    }[kind]


def _gpus() -> list[str]:
    """Names of NVIDIA GPUs as their driver lists them, without loading anything of CUDA."""
    models = (path.read_text(errors="replace") for path in Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [line.partition(":")[2].strip() for text in models for line in text.splitlines() if "Model:" in line]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
