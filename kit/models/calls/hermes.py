"""Calls of Hermes, Qwen2.5 and Qwen3 (before its coder), and the kit's own: other turns are brought into this form.

    <tool_call>
    {"name": "python", "arguments": {"code": "print(2)"}}
    </tool_call>

Source: https://github.com/NousResearch/Hermes-Function-Calling; the chat template of Qwen/Qwen3-30B-A3B.
"""

from __future__ import annotations

import re

from kit.models.calls.form import CallForm, Read, after, json_at, written
from kit.models.family import TAGS

_OPEN, _CLOSE = TAGS.call


def read(text: str, place: int) -> Read | None:
    """One call in its tags."""
    begin = after(_OPEN, text, place)
    value = None if begin is None else json_at(text, begin)
    if value is None:
        return None
    call, end = value
    close = after(_CLOSE, text, end)
    if close is None or not isinstance(call, dict):
        return None
    made = written(call.get("name"), call.get("arguments"))
    return None if made is None else Read((made,), close)


HERMES = CallForm(
    name="hermes",
    opens=re.compile(re.escape(_OPEN)),
    read=read,
    advice="The call is not valid JSON. Write it again, with \\n for a line break in the code.",
    is_of=lambda template: _OPEN in template,
)
