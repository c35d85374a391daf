"""A run as one file: settings in TOML, read and written; and what was chosen by file and by `--set`, with its place.

In: a path, and assignments from a command line. Out: changes for `replaced`, and for each of them where it was set, so
that whatever is refused later is told with its file and line. TOML knows no null: the text "null" stands for it.
"""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from kit.config import flattened, merged, nested, replaced
from kit.errors import InputError, MissingError, SettingError, cannot_write
from kit.recipes.settings import FIRST, Settings

_NULL = "null"
_TABLE = re.compile(r"\s*\[([^\[\]]+)\]")
_KEY = re.compile(r"\s*([\w.\-\"' ]+?)\s*=")
_HEAD = """\
# A recipe of the kit: `kit dry-run --config {name}`, `kit solve --config {name}`.
# Every setting stands here with its default, commented out: take away the `#` and change the value. What stays
# commented out is as the command has it. `--set` wins over this file. "null" is for none.
"""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a user has set. changes: nested as in `Settings`. places: where each was set, by its whole name."""

    changes: Mapping[str, Any]
    places: Mapping[str, str]

    @contextmanager
    def located(self) -> Iterator[None]:
        """Says of a setting that is refused in here where it was set.

        Raises: InputError in place of each SettingError.
        """
        try:
            yield
        except SettingError as error:
            place = self._place(error.name)
            raise InputError(f"{place}: {error}" if place else str(error)) from None

    def _place(self, name: str) -> str:
        """Of the setting itself; else of the first in a group of this name; else of the table that holds it."""
        within = (place for each, place in self.places.items() if each == name or each.startswith(f"{name}."))
        above = (place for each, place in self.places.items() if name.startswith(f"{each}."))
        return next(within, next(above, ""))


def chosen(recipe: Path | None, assignments: Sequence[str]) -> Choices:
    """The settings of a recipe file, if there is one, and of assignments `NAME=VALUE`, which win.

    Raises: MissingError or InputError for a file that cannot be read; InputError for what is no assignment.
    """
    by_flag = nested(assignments)
    told = {each.partition("=")[0]: f"--set {each}" for each in assignments}
    if recipe is None:
        return Choices(by_flag, told)
    text = _read(recipe)
    try:
        by_file = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{recipe}: not TOML ({error}); write NAME = VALUE, texts in quotes") from None
    lines = {name: f"{recipe}, line {line}" for name, line in _lines(text).items() if name not in told}
    of_file = Choices(_without_null(by_file), lines)
    with of_file.located():  # what a flag would hide is told, too
        replaced(Settings(), of_file.changes)
    return Choices(merged(of_file.changes, by_flag), told | lines)


def write_recipe(path: Path, choices: Choices) -> None:
    """Write every setting with its help: what was chosen as it is, the rest as comments with the defaults.

    Raises: InputError for a file that is there already, or a choice that is refused; StorageError if it cannot be
    written.
    """
    with choices.located():
        settings = replaced(Settings(), choices.changes)
    text = recipe_text(settings, is_set=_leaves(choices.changes).__contains__, name=path.name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path}: is there already; name another file, or move that one away") from None
    except OSError as error:
        raise cannot_write(path, error) from error


def recipe_text(settings: Settings, *, is_set: Callable[[str], bool], name: str) -> str:
    """A recipe file. is_set: whether a setting, by its whole name, stands there in force."""
    helps = {each: text for group in FIRST.values() for each, text in group.items()}
    values = flattened(settings)
    blocks = [_HEAD.format(name=name)]
    for group, config in groups(settings):
        lines = [f"# {line}".rstrip() for line in explanation(config).splitlines()]
        lines += [f"[{group}]"] if group else []
        for short in (each.name for each in fields(config)):
            whole = f"{group}.{short}" if group else short
            if whole in values:
                line = ("" if is_set(whole) else "# ") + f"{short} = {_toml(values[whole])}"
                lines.append(f"{line}  # {helps[whole]}" if whole in helps else line)
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def groups(config: Any, *, within: str = "") -> list[tuple[str, Any]]:
    """Every group of settings and its name, the config itself first: in the order in which TOML wants tables."""
    found: list[tuple[str, Any]] = [(within, config)]
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            found += groups(value, within=f"{within}.{each.name}" if within else each.name)
    return found


def explanation(config: object) -> str:
    """What a group's own class says of its settings, without what it raises."""
    text = textwrap.dedent(" " * 4 + (type(config).__doc__ or ""))
    return text.partition("\nRaises:")[0].strip()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # as some editors save it
    except FileNotFoundError:
        raise MissingError(f"{path}: no such recipe; `kit settings --write {path}` writes one to begin with") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text ({error}); a recipe is TOML") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a TOML file") from None


def _lines(text: str) -> dict[str, int]:
    """The line on which each key of a TOML text stands, by its whole dotted name."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _TABLE.match(line):
            table = _plain(match[1]) + "."
            lines.setdefault(_plain(match[1]), number)
        elif match := _KEY.match(line):
            lines.setdefault(table + _plain(match[1]), number)
    return lines


def _leaves(changes: Mapping[str, Any], *, within: str = "") -> set[str]:
    """The whole names of what is set, however much of it was set at once."""
    names: set[str] = set()
    for name, value in changes.items():
        names |= _leaves(value, within=f"{within}{name}.") if isinstance(value, Mapping) else {within + name}
    return names


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _without_null(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_null(value) if isinstance(value, Mapping) else None if value == _NULL else value
        for name, value in values.items()
    }


def _toml(value: object) -> str:
    """A setting's value in TOML, which for all of their kinds but null is JSON's spelling too."""
    return json.dumps(_NULL if value is None else value, ensure_ascii=False)
