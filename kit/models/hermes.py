"""Tool calls out of a text, in the form that Qwen2.5, Qwen3 and Hermes models are taught.

    <tool_call>
    {"name": "python", "arguments": {"code": "print(2)"}}
    </tool_call>

In: a finished text. Out: what stands before the calls, and the calls. It knows no other form and fixes nothing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from kit.sampling import FinishReason, Prompt, Sample, ToolCall

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_END_OF_THOUGHT = "</think>"


@dataclass(frozen=True, slots=True)
class Said:
    """text: what came before the first call, or all of it where there is none."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()


def split_tool_calls(text: str, *, num_earlier: int = 0) -> Said:
    """Take the calls off a text's end. A malformed one leaves the whole text as it is, and so does none.

    Calls that a thought only speaks of are not taken: they stand before its end. What follows the last call is
    dropped; a model that goes on there makes up the answer. num_earlier: calls in the chat so far, so that ids
    (`call_0`, `call_1`, ...) differ within a chat and are the same every time.
    """
    begin = place = text.find(_OPEN, max(0, text.rfind(_END_OF_THOUGHT)))
    calls: list[ToolCall] = []
    end = place
    while place >= 0 and not text[end:place].strip():
        read = _read_call(text, place + len(_OPEN), id_=f"call_{num_earlier + len(calls)}")
        if read is None:
            return Said(text)
        call, end = read
        calls.append(call)
        place = text.find(_OPEN, end)
    if not calls:
        return Said(text)
    # the line break before a call belongs to the template's form of it
    return Said(text[:begin].removesuffix("\n"), tuple(calls))


def with_tool_calls(sample: Sample, prompt: Prompt) -> Sample:
    """The sample with the calls that its text ends with; a text that was cut short ends with none."""
    if sample.finish is not FinishReason.STOP:
        return sample
    num_earlier = sum(len(message.tool_calls) for message in prompt.messages)
    said = split_tool_calls(sample.text, num_earlier=num_earlier)
    return dataclasses.replace(sample, text=said.text, tool_calls=said.tool_calls)


def _read_call(text: str, place: int, *, id_: str) -> tuple[ToolCall, int] | None:
    """The call whose JSON begins at `place`, and where its closing tag ends."""
    while text[place : place + 1].isspace():
        place += 1
    try:
        # decoded from its place rather than cut out: a closing tag may stand within a string
        call, end = json.JSONDecoder().raw_decode(text, place)
    except (ValueError, RecursionError):  # the latter for nests as deep as the text is long
        return None
    close = text.find(_CLOSE, end)
    if close < 0 or text[end:close].strip():
        return None
    match call:
        case {"name": str(name), "arguments": dict(arguments)}:
            # as templates write it: the same text goes back into the prompt with the next turn
            written = json.dumps(arguments, ensure_ascii=False)
            return ToolCall(id=id_, name=name, arguments=written), close + len(_CLOSE)
    return None
