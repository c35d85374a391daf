"""Reads a model's tool call. Out: the code to run, or what is wrong with the call.

Tolerant of what models write: bare code for JSON, code in a fence, line breaks that are not escaped, a made-up
name for the tool or its argument. Anything else is refused with words for the model. Nothing raises.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass

from kit.answers.fences import fences
from kit.json_text import read_json
from kit.prompting import PYTHON_TOOL
from kit.sampling import ToolCall

_BEGINS_JSON_OBJECT = re.compile(r'\s*\{\s*"\w+"\s*:')


@dataclass(frozen=True, slots=True)
class Code:
    """Python that the model wants to have run."""

    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that cannot be run. reason: what the model is told, so that it can call again."""

    reason: str


Call = Code | Refusal


def call_of(call: ToolCall) -> Call:
    """What a native call asks for."""
    # "python" stands in the names that models make up for it as well: functions.python, python.run, ipython.
    if PYTHON_TOOL.name not in call.name.lower():
        return Refusal(f"There is no tool named {call.name!r}. The only tool is {PYTHON_TOOL.name!r}.")
    read = _code_of(call.arguments)
    if isinstance(read, Refusal):
        return read
    code = _unfenced(read.text)
    return Code(code) if code.strip() else Refusal("The call holds no code. Give it as the argument 'code'.")


def rendered(call: ToolCall) -> ToolCall:
    """The call as a chat template takes it back: as it is, or with its arguments made the JSON object they were not.

    Engines that fill in templates refuse a chat with other arguments, and the attempt would end with that.
    """
    try:
        if isinstance(read_json(call.arguments), dict):
            return call
    except ValueError:
        pass  # fixed below
    read = call_of(call)
    code = read.text if isinstance(read, Code) else call.arguments
    return dataclasses.replace(call, arguments=json.dumps({"code": code}, ensure_ascii=False))


def _code_of(arguments: str) -> Call:
    """The code in a call's arguments: {"code": …}, or as bare code, as gpt-oss writes for its own `python`."""
    try:
        value = json.loads(arguments, strict=False)  # models leave the line breaks in their strings as they are
    except (ValueError, RecursionError):
        if _BEGINS_JSON_OBJECT.match(arguments):
            return Refusal('The arguments are not valid JSON. Write {"code": "…"}, with \\n for a line break.')
        return Code(arguments)
    if isinstance(value, str):
        return Code(value)
    if not isinstance(value, dict):
        return Code(arguments)  # bare code that happens to be JSON as well, such as a number
    texts = [text for text in value.values() if isinstance(text, str)]
    code = value.get("code", texts[0] if len(texts) == 1 else None)
    return Code(code) if isinstance(code, str) else Refusal("The arguments hold no text 'code'.")


def _unfenced(code: str) -> str:
    """The inside of the first block of Python, where the code comes in one."""
    return next((code[fence.inside] for fence in fences(code) if fence.is_code), code)
