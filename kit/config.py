"""Settings from the outside, checked; and the facts about a machine that head every record.

`replaced` is the one way a setting given by name (JSON, a flag) reaches a config dataclass: unknown
names raise and name the nearest known one. Does not read the environment or any file by itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from kit.errors import InputError

_Config = TypeVar("_Config")

_PACKAGES = ("mathllm-kit", "torch", "transformers", "vllm", "trio", "polars", "grpcio")


def replaced(config: _Config, changes: Mapping[str, Any]) -> _Config:
    """`config` with the fields named in `changes` set; a nested mapping changes a nested config.

    Raises: InputError for a name that is no field, or a value that the config refuses.
    """
    values: dict[str, Any] = {}
    kinds = get_type_hints(type(config))
    for name, value in changes.items():
        _check_name(config, name)
        current = getattr(config, name)
        if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
            values[name] = replaced(current, value)
        elif _fits(value, kinds[name]):
            values[name] = tuple(value) if isinstance(value, list) else value
        else:
            raise InputError(f"{name} must be {_name(kinds[name])}, got {value!r}")
    return dataclasses.replace(config, **values)  # type: ignore[type-var]  # every config is a dataclass


def machine_facts() -> dict[str, Any]:
    """Package versions and hardware, for the head of a record."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": _gpus(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }


def _check_name(config: object, name: str) -> None:
    names = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        raise InputError(f"{type(config).__name__} has no setting {name!r}; {hint}")


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
    return isinstance(value, (int, float) if kind is float else kind)


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).removeprefix("typing.")


def _gpus() -> list[str]:
    """Names of NVIDIA GPUs as their driver lists them, without loading anything of CUDA."""
    models = (path.read_text(errors="replace") for path in Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [line.partition(":")[2].strip() for text in models for line in text.splitlines() if "Model:" in line]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
