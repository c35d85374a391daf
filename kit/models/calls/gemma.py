"""Calls of Gemma 4: values without JSON's quotes and escapes.

    <|tool_call>call:python{code:<|"|>print(2)<|"|>}<tool_call|>

Source: vllm/parser/gemma4.py of vLLM 0.32, which gives the form of the values.
"""

from __future__ import annotations

import re
from typing import Any

from kit.models.calls.form import CallForm, Read, after, after_space, json_at, written

_OPEN, _CLOSE, _QUOTE = "<|tool_call>", "<tool_call|>", '<|"|>'
_HEAD = re.compile(rf"{re.escape(_OPEN)}\s*call:(?P<name>[\w.-]+)\s*(?=\{{)")
_KEY = re.compile(r'\s*(?:<\|"\|>)?(?P<key>[\w.-]+)(?:<\|"\|>)?\s*:')
_MAX_DEPTH = 20


def read(text: str, place: int) -> Read | None:
    """One call in its marks."""
    head = _HEAD.match(text, after_space(text, place))
    value = None if head is None else _value(text, head.end(), _MAX_DEPTH)
    if head is None or value is None:
        return None
    close = after(_CLOSE, text, value[1])
    made = written(head["name"], value[0])
    return None if made is None or close is None else Read((made,), close)


def _value(text: str, place: int, depth: int) -> tuple[Any, int] | None:
    place = after_space(text, place)
    if text.startswith(_QUOTE, place):
        end = text.find(_QUOTE, place + len(_QUOTE))
        return None if end < 0 else (text[place + len(_QUOTE) : end], end + len(_QUOTE))
    if depth and text.startswith("{", place):
        return _object(text, place + 1, depth - 1)
    if depth and text.startswith("[", place):
        return _array(text, place + 1, depth - 1)
    return json_at(text, place)


def _object(text: str, place: int, depth: int) -> tuple[dict[str, Any], int] | None:
    members: dict[str, Any] = {}
    while (end := after("}", text, place)) is None:
        key = _KEY.match(text, place)
        value = None if key is None else _value(text, key.end(), depth)
        if key is None or value is None:
            return None
        members[key["key"]], place = value
        place = after(",", text, place) or place
    return members, end


def _array(text: str, place: int, depth: int) -> tuple[list[Any], int] | None:
    members: list[Any] = []
    while (end := after("]", text, place)) is None:
        value = _value(text, place, depth)
        if value is None:
            return None
        members.append(value[0])
        place = after(",", text, value[1]) or value[1]
    return members, end


GEMMA = CallForm(
    name="gemma",
    opens=re.compile(re.escape(_OPEN)),
    read=read,
    advice=f"The call is not well formed. Write {_OPEN}call:python{{code:{_QUOTE}, the code, then {_QUOTE}}}{_CLOSE}.",
    is_of=lambda template: _OPEN in template,
    is_special=True,
)
