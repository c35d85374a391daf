"""A chat under way, as messages for the engine and as one transcript for the reader; pure.

A turn may be broken off anywhere: inside a thought (`<think>`) or a block of code. The next turn first closes what is
open, so that a thought is never taken for an answer, nor an answer for code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from kit.answers.fences import fence_closed, undelimited
from kit.models.thoughts import THINK, is_thinking, thought_closed
from kit.sampling import Message, Sample, ToolCall
from kit.tools.calls import Code, call_of

LAST_WORDS = "Time is up, so the final answer is \\boxed{"
"""What is put into the model's mouth, so that only the number has to follow. No sentence of it begins "the
answer is": where no whole box comes of it, `kit.answers.extraction` must not take it for a statement."""


def said(messages: Sequence[Message], sample: Sample) -> tuple[Message, ...]:
    """The chat with what the model has just said: a turn of its own, or the rest of the turn it goes on with."""
    if messages and messages[-1].role == "assistant":
        begun = messages[-1]
        whole = dataclasses.replace(begun, content=begun.content + sample.text, tool_calls=sample.tool_calls)
        return (*messages[:-1], whole)
    return (*messages, Message("assistant", sample.text, tool_calls=sample.tool_calls))


def interrupted(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The model's own turn, with what is open in it closed, gone on with by LAST_WORDS."""
    if messages[-1].role != "assistant":
        return (*messages, Message("assistant", LAST_WORDS))
    text = thought_closed(fence_closed(messages[-1].content))
    return (*messages[:-1], Message("assistant", f"{text}\n\n{LAST_WORDS}"))


def later_half(text: str) -> str:
    """The later half of what a model said, for a context that holds no more; a thought cut in two stays one."""
    middle = len(text) // 2
    return (f"{THINK}\n" if is_thinking(text[:middle]) else "") + text[middle:]


def transcript(given: Sequence[Message], messages: Sequence[Message]) -> str:
    """What was said since the prompt (`given`), as one text; native calls stand in it as fences too."""
    new = list(messages[len(given) :])
    if given and given[-1].role == "assistant":
        begun = messages[len(given) - 1]
        new.insert(0, dataclasses.replace(begun, content=begun.content[len(given[-1].content) :]))
    return "".join(_shown(message) for message in new)


def _shown(message: Message) -> str:
    if message.role == "tool":
        return f"```output\n{message.content}\n```\n"
    if message.role == "user":
        return f"\n\n{message.content}\n\n"
    return message.content + "".join(f"\n```python\n{_code_shown(call)}\n```\n" for call in message.tool_calls)


def _code_shown(call: ToolCall) -> str:
    read = call_of(call)
    return undelimited(read.text if isinstance(read, Code) else call.arguments).strip("\n")
