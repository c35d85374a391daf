"""Calls of Llama 3 as JSON, of Llama 3.2 and 4 as Python, and of Mistral.

    <|python_tag|>{"name": "python", "parameters": {"code": "print(2)"}}
    [python(code="print(2)")]
    [TOOL_CALLS][{"name": "python", "arguments": {"code": "print(2)"}}]
    [TOOL_CALLS]python[ARGS]{"code": "print(2)"}

Llama 3.1 leaves the tag out where it only calls, and writes bare code after it for its built-in interpreter.
Source: llama-models, models/llama3_1/prompt_format.md and models/llama4/prompt_format.md; mistral-common, tokens v3 to
v13; vllm/tool_parsers/{llama,pythonic}_tool_parser.py and vllm/parser/mistral.py of vLLM 0.32.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from kit.models.calls.form import CallForm, Read, Written, after, after_space, json_at, written

_PYTHON_TAG = "<|python_tag|>"
_LIST_BEGINS, _LIST_ENDS = "<|python_start|>", "<|python_end|>"
_MAX_LIST_CHARS = 200_000  # beyond, Python's own parser may take seconds and all the stack


def _read_json(text: str, place: int) -> Read | None:
    tagged = after(_PYTHON_TAG, text, place)
    begin = place if tagged is None else tagged
    value = json_at(text, begin)
    if value is None or not isinstance(value[0], dict):
        return _bare_code(text, tagged)
    call, end = value
    made = written(call.get("name"), call.get("parameters", call.get("arguments")))
    return None if made is None else Read((made,), end)


def _bare_code(text: str, begin: int | None) -> Read | None:
    code = "" if begin is None else text[begin:].strip()
    made = written("python", {"code": code}) if code and not code.startswith("{") else None
    return None if made is None else Read((made,), len(text))


LLAMA_JSON = CallForm(
    name="llama-json",
    opens=re.compile(rf'{re.escape(_PYTHON_TAG)}|\A\s*\{{\s*"(?:type"\s*:\s*"function"\s*,\s*")?name"\s*:'),
    between=re.compile(r"[\s;]*+"),
    read=_read_json,
    advice='The call is not valid JSON. Write {"name": "python", "parameters": {"code": "…"}}; a line break is \\n.',
    is_of=lambda template: (
        _PYTHON_TAG in template or ("<|start_header_id|>" in template and '"parameters"' in template)
    ),
    is_special=True,
)


def _read_list(text: str, place: int) -> Read | None:
    begin = after(_LIST_BEGINS, text, place)
    begin = after_space(text, place if begin is None else begin)
    closes = text.find(_LIST_ENDS, begin)
    end = closes if closes >= 0 else text.rfind("]") + 1
    if not text.startswith("[", begin) or not begin < end <= begin + _MAX_LIST_CHARS:
        return None
    try:
        value = ast.parse(text[begin:end].strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls = [_call_of(each) for each in value.elts] if isinstance(value, ast.List) else []
    whole = tuple(call for call in calls if call is not None)
    if not whole or len(whole) != len(calls):
        return None
    return Read(whole, end + (len(_LIST_ENDS) if closes >= 0 else 0))


def _call_of(node: ast.expr) -> Written | None:
    if not isinstance(node, ast.Call) or node.args or not isinstance(node.func, ast.Name | ast.Attribute):
        return None
    values: dict[str, Any] = {}
    for argument in node.keywords:
        try:
            values[argument.arg or ""] = ast.literal_eval(argument.value)
        except (ValueError, RecursionError, MemoryError):
            return None
    try:
        return written(ast.unparse(node.func), values)
    except (TypeError, ValueError, RecursionError):  # a set, bytes: no JSON
        return None


PYTHONIC = CallForm(
    name="pythonic",
    opens=re.compile(rf"{re.escape(_LIST_BEGINS)}|(?<!\S)\[\s*python\("),
    read=_read_list,
    advice='The call is not valid Python. Write [python(code="…")], with \\n for a line break in the code.',
    is_of=lambda template: _LIST_BEGINS in template or "[func_name1(params" in template,
    is_special=True,
)

_MISTRAL = "[TOOL_CALLS]"
_MISTRAL_NAMED = re.compile(r"(?P<name>[\w.-]+)(?:\[CALL_ID\]\w*)?(?:\[ARGS\])?(?=\s*\{)")


def _read_mistral(text: str, place: int) -> Read | None:
    begin = after(_MISTRAL, text, place)
    if begin is None:
        return None
    if named := _MISTRAL_NAMED.match(text, begin):
        value = json_at(text, named.end())
        made = None if value is None else written(named["name"], value[0])
        return None if made is None or value is None else Read((made,), value[1])
    value = json_at(text, begin)
    if value is None or not isinstance(value[0], list):
        return None
    calls = [written(each.get("name"), each.get("arguments")) if isinstance(each, dict) else None for each in value[0]]
    whole = tuple(call for call in calls if call is not None)
    return Read(whole, value[1]) if whole and len(whole) == len(calls) else None


MISTRAL = CallForm(
    name="mistral",
    opens=re.compile(re.escape(_MISTRAL)),
    read=_read_mistral,
    advice='The call is not valid JSON. Write [TOOL_CALLS]python[ARGS]{"code": "…"}, with \\n for a line break.',
    is_of=lambda template: _MISTRAL in template,
    is_special=True,
)
