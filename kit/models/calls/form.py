"""What a form of tool calls is, and the marks and JSON that several of them share; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Written:
    """A call as it stands in a text. arguments: a JSON object, as text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Read:
    """What was read at one place: calls, more than one where one list holds them, and where in the text they end."""

    calls: tuple[Written, ...]
    end: int


Reader = Callable[[str, int], Read | None]
"""The calls that begin at a place of a text; None for what is malformed. Total on any text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallForm:
    """One way to write calls.

    opens: where a call, or a section of calls, may begin. between: what may stand before the first and between calls.
    read: reads one call. advice: the form in words, for a model that got it wrong.
    is_of: whether a chat template writes calls in this form.
    is_special: whether the marks are special tokens; an engine must then keep these in the text.
    """

    name: str
    opens: re.Pattern[str]
    read: Reader
    advice: str
    is_of: Callable[[str], bool]
    between: re.Pattern[str] = field(default=re.compile(r"\s*+"))
    is_special: bool = False


def written(name: object, arguments: object) -> Written | None:
    """A call, with its arguments as templates write them, since the text goes back into the prompt with the next turn.

    None for a name that is no text, or arguments that are no JSON object.
    """
    if not isinstance(name, str) or not name.strip() or not isinstance(arguments, Mapping):
        return None
    return Written(name.strip(), json.dumps(dict(arguments), ensure_ascii=False))


def json_at(text: str, place: int) -> tuple[Any, int] | None:
    """The JSON value that begins at a place, and where it ends; not cut out by tags, which may stand in its strings."""
    try:
        return json.JSONDecoder().raw_decode(text, after_space(text, place))
    except (ValueError, RecursionError):  # the latter for nests as deep as the text is long
        return None


def after_space(text: str, place: int) -> int:
    """The next place that is no white space."""
    space = _SPACE.match(text, place)
    return space.end() if space else place


def after(mark: str, text: str, place: int) -> int | None:
    """The place after a mark that stands here, white space before it passed over; None if it does not."""
    place = after_space(text, place)
    return place + len(mark) if text.startswith(mark, place) else None


_SPACE = re.compile(r"\s*+")
