"""The ways in which a model calls Python. In: a chat. Out: what to run, and the chat to go on with.

Three formats behind one interface; `kit.tools.reasoner` loops over it:
- plain: no tools, words only;
- fenced: the model writes ```` ```python ````, and what it printed follows as ```` ```output ```` in the
  model's own turn (Qwen2.5-Math, ToRA, NuminaMath);
- native: tool calls of the engine's chat template (Qwen3, gpt-oss), answered by messages of the role `tool`.

A call that cannot be run is answered with what is wrong: it costs a turn and not the attempt
(docs/peers.md#harmony). Several calls of one turn are answered in order.
Source: arXiv 2309.17452 (ToRA); QwenLM/Qwen2.5-Math, evaluation/math_eval.py.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from kit.answers.fences import Fence, fence_closed, fences, undelimited
from kit.models.calls.splitting import advice_for
from kit.models.thoughts import thought_closed
from kit.sampling import Message
from kit.tools.calls import Call, Code, Refusal, call_of, rendered
from kit.tools.chat import LAST_WORDS, interrupted

NO_OUTPUT = "(no output; print what you want to see)"
LAST_QUESTION = "Time is up. Give your final answer now, in \\boxed{} and without any further reasoning."


class ToolFormat(Protocol):
    """One way to call Python; every operation is pure. `messages` is the chat so far, the prompt's included."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end a turn."""
        ...

    @property
    def runs_code(self) -> bool:
        """Whether there may be calls at all."""
        ...

    def calls(self, messages: Sequence[Message]) -> tuple[Call, ...]:
        """What the turn at the end, which the model ended itself, waits for."""
        ...

    def answered(self, messages: Sequence[Message], outputs: Sequence[str]) -> tuple[Message, ...]:
        """The chat to go on with: the calls at its end answered, an output for each, in order."""
        ...

    def last_call(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The chat, broken off and asked for its answer: the model goes on inside of a box."""
        ...


class Plain:
    """Words only."""

    stop = ()
    runs_code = False

    def calls(self, messages: Sequence[Message]) -> tuple[Call, ...]:
        """None, whatever the model writes."""
        return ()

    def answered(self, messages: Sequence[Message], outputs: Sequence[str]) -> tuple[Message, ...]:
        """The chat as it is: there is nothing to answer."""
        return tuple(messages)

    def last_call(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """In the model's own turn."""
        return interrupted(messages)


class Fenced:
    """Code and its output are blocks in the one turn of the model's."""

    stop = ("```output",)
    runs_code = True

    def calls(self, messages: Sequence[Message]) -> tuple[Call, ...]:
        """At most one: the Python since the last output, where the turn ends with it or asks for its output.

        Several blocks are one call, like cells of a notebook that were not run yet.
        """
        text = messages[-1].content
        blocks = list(fences(text))
        if not blocks:
            return ()
        if blocks[-1].is_output and not blocks[-1].is_closed:
            code = _code_not_run(text, blocks[:-1])
            return (Code(code) if code else Refusal("There is no code before this output to run."),)
        code = _code_not_run(text, blocks)
        ends_with_code = blocks[-1].is_code and not text[blocks[-1].end :].strip()
        return (Code(code),) if ends_with_code and code else ()

    def answered(self, messages: Sequence[Message], outputs: Sequence[str]) -> tuple[Message, ...]:
        """See ToolFormat; there is one call, so there is one output."""
        (output,) = outputs
        text = messages[-1].content.rstrip()
        if not text.endswith(self.stop):
            text = f"{fence_closed(text)}\n```output"
        return (*messages[:-1], Message("assistant", f"{text}\n{_output_shown(output)}\n```\n"))

    def last_call(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """In the model's own turn."""
        return interrupted(messages)


class Native:
    """Calls and their answers in the chat template's own form."""

    stop = ()
    runs_code = True

    def calls(self, messages: Sequence[Message]) -> tuple[Call, ...]:
        """All that the turn made, in order; one that the engine could not read is left in the turn's words."""
        last = messages[-1]
        if not last.tool_calls and (advice := advice_for(last.content)) is not None:
            return (Refusal(advice),)
        return tuple(call_of(call) for call in last.tool_calls)

    def answered(self, messages: Sequence[Message], outputs: Sequence[str]) -> tuple[Message, ...]:
        """See ToolFormat; a call that the engine could not read has no id to answer to, so the user does."""
        calls = tuple(rendered(call) for call in messages[-1].tool_calls)
        if not calls:
            return (*messages, *(Message("user", output) for output in outputs))
        turn = dataclasses.replace(messages[-1], tool_calls=calls)
        replies = [
            Message("tool", _output_shown(output), call_id=call.id) for call, output in zip(calls, outputs, strict=True)
        ]
        return (*messages[:-1], turn, *replies)

    def last_call(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """A question of the user's, and a turn of the model's that has begun to answer it."""
        *before, last = messages
        if last.role == "assistant":
            last = Message("assistant", thought_closed(last.content))  # calls without an answer are dropped
        return (*before, last, Message("user", LAST_QUESTION), Message("assistant", LAST_WORDS))


TOOL_FORMATS: Mapping[str, ToolFormat] = MappingProxyType({"plain": Plain(), "fenced": Fenced(), "native": Native()})


def _code_not_run(text: str, blocks: Sequence[Fence]) -> str:
    """The Python after the last output, empty where there is none; a block in a list's item is indented."""
    num_answered = max((place for place, block in enumerate(blocks, start=1) if block.is_output), default=0)
    codes = [textwrap.dedent(text[block.inside]).strip("\n") for block in blocks[num_answered:] if block.is_code]
    return "\n\n".join(code for code in codes if code)


def _output_shown(output: str) -> str:
    return undelimited(output).rstrip() or NO_OUTPUT
