"""gpt-oss: its form of a turn, Harmony, and the kit's form of the same; and how it is served.

    <|channel|>analysis<|message|>THOUGHT<|end|><|start|>assistant<|channel|>final<|message|>TEXT<|return|>

Such a turn becomes `<think>THOUGHT</think>TEXT`, and a call becomes what kit.models.calls.hermes reads. Pure. The
model's own chat template writes the prompt.
Source: https://github.com/openai/harmony, docs/format.md; the chat template of openai/gpt-oss-120b.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence

from kit.answers.channels import BARE_ANALYSIS
from kit.models.family import TAGS, CardSampling, Markers, ModelFamily, ServingPreset
from kit.sampling import Message

VOCABULARY = (
    "o200k_base.tiktoken",
    "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
)
"""The file of tokens that Harmony needs in the model's folder, and its SHA-256.
Source: src/tiktoken_ext/public_encodings.rs of openai_harmony 0.0.8."""

_MARK = re.compile(r"<\|(start|end|message|channel|constrain|return|call)\|>")
_FINAL = "<|channel|>final<|message|>"
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([\w.-]+)")
_THINK, _END_OF_THOUGHT = TAGS.thought
_CALL, _END_OF_CALL = TAGS.call


def is_harmony(chat_template: str) -> bool:
    """Whether a chat template writes turns in this form."""
    return "<|channel|>" in chat_template and "<|start|>" in chat_template


HARMONY = Markers(
    thought=("<|channel|>analysis<|message|>", "<|end|>"),
    call=("<|channel|>commentary to=functions.", "<|call|>"),
    are_special=True,
)

GPT_OSS = ModelFamily(
    name="gpt-oss",
    recognises=lambda facts: facts.model_type == "gpt_oss" or is_harmony(facts.chat_template),
    # the card's; without tools it had 0.475 to 0.50 of ten problems of which it has 39 to 44 of 50 with them
    sampling=CardSampling(temperature=1.0, top_p=1.0),
    max_new_tokens=65_536,
    turn_tokens=32_768,
    prompt="tools",
    markers=HARMONY,
    template_values={"reasoning_effort": "high"},
    # MXFP4 as released. Share and cache are those of https://github.com/AndreasBis/AIMO3-Solution, where a
    # cache in FP8 held 9.62 whole attempts of 65,536 tokens and one in BF16 4.92.
    preset=ServingPreset(
        name="gpt-oss-120b-h100",
        settings={
            "max_num_seqs": 64,
            "memory_share": 0.96,
            "kv_cache_dtype": "fp8",
            "stream_interval": 20,
        },
    ),
)


def ends_in_final(text: str) -> bool | None:
    """Whether a text of gpt-oss ends in its final channel; None for a text that is not in its form.

    Without special tokens such a text begins "analysis", and "assistantfinal" begins its answer.
    """
    if channels := _CHANNEL.findall(text):
        return bool(channels[-1] == "final")
    return "assistantfinal" in text if BARE_ANALYSIS.match(text) else None


def prepared(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The chat with its finished turns as the template wants them: without tags and without past thoughts.

    The template itself drops a thought, unless the turn called a tool; it would write the tags into the prompt. A turn
    that was broken off in its thought is kept as plain text, so that its work is not lost.
    """
    last = len(messages) - 1
    return tuple(
        _finished(message) if message.role == "assistant" and place < last else message
        for place, message in enumerate(messages)
    )


def turn_so_far(text: str) -> str:
    """A turn in the kit's form as the model would have written it, to stand after `<|start|>assistant`."""
    if not text:
        return ""
    thought, has_ended, rest = text.partition(_END_OF_THOUGHT)
    if not text.startswith(_THINK):
        return f"{_FINAL}{text}"
    begins, ends = HARMONY.thought
    analysis = f"{begins}{thought.removeprefix(_THINK)}"
    return f"{analysis}{ends}<|start|>assistant{_FINAL}{rest}" if has_ended else analysis


class HarmonyReader:
    """Brings the model's text, special tokens included, into the kit's form, piece by piece.

    so_far: the turn that the text continues, in the kit's form. A special token must come whole.
    """

    def __init__(self, *, so_far: str = "") -> None:
        self._header: str | None = "" if not so_far else None  # what stands before `<|message|>`; None: in a body
        self._is_thinking = so_far.startswith(_THINK) and _END_OF_THOUGHT not in so_far
        self._callee = ""
        self._arguments = ""

    def add(self, text: str, *, is_last: bool = False) -> str:
        """What a piece adds; `is_last` ends an open call."""
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
            # gpt-oss also calls `python` with bare code; the tool format refuses any other text that is no JSON
            is_code = name == "python" and not arguments.startswith("{")
            written = json.dumps({"name": name, "arguments": {"code": arguments}}) if is_code else arguments
        return f"\n{_CALL}\n{written}\n{_END_OF_CALL}"


def _finished(message: Message) -> Message:
    thought, has_ended, text = message.content.partition(_END_OF_THOUGHT)
    thought = thought.removeprefix(_THINK).strip()
    if not has_ended:
        return dataclasses.replace(message, content=thought)
    whole = f"{thought}\n\n{text.strip()}".strip()
    return dataclasses.replace(message, content=whole if message.tool_calls else text.strip() or thought)
