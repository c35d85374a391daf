"""gpt-oss's own form of a turn, Harmony, and the kit's: channels and calls here, `<think>` and text there.

    <|channel|>analysis<|message|>THOUGHT<|end|><|start|>assistant<|channel|>final<|message|>TEXT<|return|>

A turn as the model writes it becomes `<think>THOUGHT</think>TEXT`; a call becomes what
`kit.models.hermes` reads.
Pure. The prompt itself is written by the model's own chat template.
Source: https://github.com/openai/harmony, docs/format.md; the chat template of openai/gpt-oss-120b.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence

from kit.sampling import Message

_MARK = re.compile(r"<\|(start|end|message|channel|constrain|return|call)\|>")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([\w.-]+)")
_THINK, _END_OF_THOUGHT = "<think>", "</think>"


def is_harmony(chat_template: str) -> bool:
    """Whether a model's chat template writes turns in this form."""
    return "<|channel|>" in chat_template and "<|start|>" in chat_template


def prepared(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The chat with finished turns as the template wants them: without tags, and without past thoughts.

    The template keeps the thought of a turn that called something, and would write the tags into it. A finished turn
    that is nothing but thought, as one broken off is, is kept as its text: else the work would be lost.
    """
    last = len(messages) - 1
    return tuple(
        _finished(message) if message.role == "assistant" and place < last else message
        for place, message in enumerate(messages)
    )


def turn_so_far(text: str) -> str:
    """A turn of the kit's as the model would have written it, to stand after `<|start|>assistant`."""
    if not text:
        return ""
    thought, has_ended, rest = text.partition(_END_OF_THOUGHT)
    if not text.startswith(_THINK):
        return f"<|channel|>final<|message|>{text}"
    analysis = f"<|channel|>analysis<|message|>{thought.removeprefix(_THINK)}"
    if not has_ended:
        return analysis
    return f"{analysis}<|end|><|start|>assistant<|channel|>final<|message|>{rest}"


class HarmonyReader:
    """Turns the model's text, special tokens shown, into the kit's, piece by piece.

    so_far: the turn that is gone on with, in the kit's form. Special tokens come whole, as one token each.
    """

    def __init__(self, *, so_far: str = "") -> None:
        self._header: str | None = "" if not so_far else None  # what stands before `<|message|>`; None: in a body
        self._is_thinking = so_far.startswith(_THINK) and _END_OF_THOUGHT not in so_far
        self._callee = ""
        self._arguments = ""

    def add(self, text: str, *, is_last: bool = False) -> str:
        """What a piece means; with `is_last` a call that is open is taken as it stands."""
        said, place = [], 0
        for mark in _MARK.finditer(text):
            said.append(self._words(text[place : mark.start()]))
            said.append(self._marked(mark[1], mark[0]))
            place = mark.end()
        said.append(self._words(text[place:]))
        if is_last:
            said.append(self._end_of_call())
        return "".join(said)

    def _words(self, text: str) -> str:
        if self._header is not None:
            self._header += text
            return ""
        if self._callee:
            self._arguments += text
            return ""
        return text

    def _marked(self, name: str, mark: str) -> str:
        if name == "message":
            return self._begin_body()
        if name in {"channel", "constrain"} and self._header is not None:
            self._header += mark
            return ""
        # the end of a message, said or not
        said = self._end_of_call()
        self._header = mark if name == "channel" else ""
        return said

    def _begin_body(self) -> str:
        header, self._header = self._header or "", None
        channel = _CHANNEL.search(header)
        recipient = _RECIPIENT.search(header)
        self._callee = recipient[1] if recipient else ""
        thinks = channel is not None and channel[1] == "analysis" and not self._callee
        if thinks == self._is_thinking:
            return ""
        self._is_thinking = thinks
        return _THINK if thinks else _END_OF_THOUGHT

    def _end_of_call(self) -> str:
        if not self._callee:
            return ""
        name, arguments = self._callee, self._arguments.strip()
        self._callee = self._arguments = ""
        try:
            written = json.dumps({"name": name, "arguments": json.loads(arguments)}, ensure_ascii=False)
        except (ValueError, RecursionError):
            # gpt-oss calls `python` with bare code too; what is no JSON is shown as it is, for the format to refuse
            is_code = name == "python" and not arguments.startswith("{")
            written = json.dumps({"name": name, "arguments": {"code": arguments}}) if is_code else arguments
        return f"\n<tool_call>\n{written}\n</tool_call>"


def _finished(message: Message) -> Message:
    thought, has_ended, text = message.content.partition(_END_OF_THOUGHT)
    thought = thought.removeprefix(_THINK).strip()
    if not has_ended:
        return dataclasses.replace(message, content=thought)
    whole = f"{thought}\n\n{text.strip()}".strip()
    return dataclasses.replace(message, content=whole if message.tool_calls else text.strip() or thought)
