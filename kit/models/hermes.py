"""Tool calls in a text, in the form of Qwen2.5, Qwen3 and Hermes models.

    <tool_call>
    {"name": "python", "arguments": {"code": "print(2)"}}
    </tool_call>

In: a finished text. Out: the text before the calls, and the calls. Pure; a malformed call is not repaired.
Source: https://github.com/NousResearch/Hermes-Function-Calling; the chat template of Qwen/Qwen3-30B-A3B.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from kit.models.family import TAGS
from kit.sampling import FinishReason, Prompt, Sample, ToolCall

_OPEN, _CLOSE = TAGS.call
_, _END_OF_THOUGHT = TAGS.thought


@dataclass(frozen=True, slots=True)
class Said:
    """text: what stands before the first call, or the whole text without calls."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()


def split_tool_calls(text: str, *, num_earlier: int = 0) -> Said:
    """Split the calls off the end of a text; a malformed call leaves the whole text as it is.

    Calls within a thought are not taken. Text after the last call is dropped: there the model makes up the answer.
    num_earlier: calls in the chat so far; ids (`call_0`, `call_1`, ...) go on from there.
    """
    begin = place = text.find(_OPEN, _end_of_thought(text))
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
    # the template writes a line break before a call
    return Said(text[:begin].removesuffix("\n"), tuple(calls))


def with_tool_calls(sample: Sample, prompt: Prompt) -> Sample:
    """The sample with the calls at its end; a text that was cut short has none."""
    if sample.finish is not FinishReason.STOP:
        return sample
    num_earlier = sum(len(message.tool_calls) for message in prompt.messages)
    said = split_tool_calls(sample.text, num_earlier=num_earlier)
    return dataclasses.replace(sample, text=said.text, tool_calls=said.tool_calls)


def _end_of_thought(text: str) -> int:
    """The place of the last closing tag of a thought that is no part of a call's arguments; 0 without one."""
    place = text.rfind(_END_OF_THOUGHT)
    while place >= 0:
        begin = text.rfind(_OPEN, 0, place)
        call = _read_call(text, begin + len(_OPEN), id_="") if begin >= 0 else None
        if call is None or call[1] <= place:
            return place
        place = text.rfind(_END_OF_THOUGHT, 0, begin)
    return 0


def _read_call(text: str, place: int, *, id_: str) -> tuple[ToolCall, int] | None:
    """The call whose JSON begins at `place`, and the end of its closing tag."""
    while text[place : place + 1].isspace():
        place += 1
    try:
        # not cut out by its tags: a closing tag may stand within a string
        call, end = json.JSONDecoder().raw_decode(text, place)
    except (ValueError, RecursionError):  # the latter for nests as deep as the text is long
        return None
    close = text.find(_CLOSE, end)
    if close < 0 or text[end:close].strip():
        return None
    match call:
        case {"name": str(name), "arguments": dict(arguments)}:
            # as templates write it, since the text goes back into the prompt with the next turn
            written = json.dumps(arguments, ensure_ascii=False)
            return ToolCall(id=id_, name=name, arguments=written), close + len(_CLOSE)
    return None
