"""A prompt as the token ids that the model reads; what others wrote stays text.

In: a Prompt and a Hugging Face tokenizer. Out: the rendered chat and its ids.

A problem, or what a program printed, may spell a control token such as `<|im_end|>`. Before the template is filled in,
each such text gets a mark after its first character, and the rendered chat is encoded in the pieces between the marks.
No piece holds the whole text of a control token but those that the template wrote. A chat without such texts has no
marks and is encoded in one piece. The pieces' tokens spell what was written, character for character, with every
tokenizer that puts no space before a text.

Rendering and encoding run in a thread with a deadline: a template may loop, and some texts take a tokenizer long.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from kit.engines.text.chat import Rendered, render
from kit.errors import EngineError
from kit.models.facts import ModelFacts
from kit.models.gpt_oss import is_harmony
from kit.models.recognition import markers_of
from kit.sampling import FinishReason, Message, Prompt, Sample, SamplingParams
from kit.tasks import TimedThread

PREPARE_S = 30.0
"""For a template and a tokenizer, which take milliseconds; a busy machine has been seen to stall for 13 s."""

_FIRST_MARK, _LAST_MARK = 0xE000, 0x10FFFF  # from the private use area on


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """ids: of the whole prompt. rendered: see Rendered."""

    ids: tuple[int, ...]
    rendered: Rendered


class PromptEncoder:
    """Renders and encodes prompts; any number of threads and loops may ask at once.

    write: renders a prompt; None: through the tokenizer's chat template. lock: held by whoever uses a tokenizer that is
    one thread's at a time. limit_s: for one prompt.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        write: Callable[[Prompt], Rendered] | None = None,
        lock: threading.Lock | None = None,
        limit_s: float = PREPARE_S,
    ) -> None:
        self._write = write or partial(render, tokenizer)
        self._thread = TimedThread(limit_s=limit_s)
        self._limit_s = limit_s
        self._encode = _encoder_of(tokenizer, lock or threading.Lock())
        self._controls = ControlTexts.of(tokenizer)

    async def encode(self, prompt: Prompt) -> EncodedPrompt:
        """The prompt's ids.

        Raises: EngineError for a chat that the template refuses, or one that takes too long; while that goes on, all
            further prompts are refused at once.
        """
        try:
            return await self._thread.run(partial(self.encoded, prompt))
        except TimeoutError as error:
            raise EngineError(
                f"the model's chat template or tokenizer has not ended after {self._limit_s:g} s; "
                "`kit verify` shows which of the two, and copying the model's folder again may help"
            ) from error

    def encoded(self, prompt: Prompt) -> EncodedPrompt:
        """As `encode`, in this thread and without a limit."""
        marked, mark = self._controls.marked(prompt)
        rendered = self._write(marked)
        pieces = rendered.text.split(mark) if mark else [rendered.text]
        return EncodedPrompt(self._ids(pieces), Rendered("".join(pieces), rendered.so_far))

    def said(self, text: str) -> tuple[int, ...]:
        """The ids of what a model is to say; a special token that is not its own to write stays text."""
        return self._ids(self._controls.pieces(text))

    def is_plain(self, text: str) -> bool:
        """Whether the tokenizer's own call gives what `said` gives."""
        return len(self._controls.pieces(text)) == 1 and _encodable(text) == text

    def _ids(self, pieces: Iterable[str]) -> tuple[int, ...]:
        return tuple(id_ for piece in pieces for id_ in self._encode(_encodable(piece)))


@dataclass(frozen=True, slots=True)
class ControlTexts:
    """Where a text spells a control token.

    anyones: tokens that nobody but the template may write: the special ones, and those of its own tags.
    models: those that the model does not write either: the special ones but the marks of its thoughts and calls.
    """

    anyones: re.Pattern[str] | None
    models: re.Pattern[str] | None

    @classmethod
    def of(cls, tokenizer: Any) -> ControlTexts:
        """Those of a tokenizer and its chat template."""
        template = str(tokenizer.chat_template or "")
        added = tuple(getattr(tokenizer, "added_tokens_decoder", {}).values())
        special = {token.content for token in added if token.special}
        # runs of spaces and breaks of line are added tokens of some models, and ordinary text
        tags = {token.content for token in added if token.content.strip() and token.content in template}
        return cls(_starts_of(special | tags), _starts_of(special - _own_marks(special, template)))

    def marked(self, prompt: Prompt) -> tuple[Prompt, str]:
        """The prompt with a mark in each control token that others wrote, and the mark; it is empty if there is none.

        The system's turn is the kit's own.
        """
        if not any(self._of(message) and self._found(message) for message in prompt.messages):
            return prompt, ""
        mark = _unused(prompt)
        return replace(prompt, messages=tuple(self._broken(message, mark) for message in prompt.messages)), mark

    def pieces(self, text: str) -> list[str]:
        """A text of the model's, cut within each control token that it does not write."""
        cuts = [found.end() for found in self.models.finditer(text)] if self.models else []
        return [text[begin:end] for begin, end in pairwise((0, *cuts, len(text)))]

    def _of(self, message: Message) -> re.Pattern[str] | None:
        return {"system": None, "assistant": self.models}.get(message.role, self.anyones)

    def _found(self, message: Message) -> bool:
        pattern = self._of(message)
        return pattern is not None and any(pattern.search(text) for text in _texts(message))

    def _broken(self, message: Message, mark: str) -> Message:
        pattern = self._of(message)
        if pattern is None:
            return message
        calls = tuple(
            replace(call, arguments=pattern.sub(rf"\g<0>{mark}", call.arguments)) for call in message.tool_calls
        )
        return replace(message, content=pattern.sub(rf"\g<0>{mark}", message.content), tool_calls=calls)


def _own_marks(special: Set[str], template: str) -> set[str]:
    """The special tokens by which a model marks its own thoughts and calls.

    None of Harmony's: its marks end turns and begin others, and its own writer puts them.
    """
    if is_harmony(template):
        return set()
    markers = markers_of(ModelFacts(chat_template=template))
    marks = [mark for mark in (*markers.thought, *markers.call) if mark]
    return {token for token in special if any(mark.startswith(token) for mark in marks)}


def _encodable(text: str) -> str:
    """The text with `?` for halves of a surrogate pair, which a call's JSON may spell and no tokenizer takes."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def unbegun(params: SamplingParams, *, seconds: float) -> Sample:
    """The sample of a call whose time was over before its prompt was ready."""
    return Sample(text="", num_tokens=0, finish=FinishReason.DEADLINE, seconds=seconds, seed=params.seed)


def _starts_of(texts: set[str]) -> re.Pattern[str] | None:
    """The first character of each of these texts, wherever they stand; one character cannot be broken."""
    rests: dict[str, list[str]] = {}
    for text in sorted(texts):
        if len(text) > 1:
            rests.setdefault(text[0], []).append(re.escape(text[1:]))
    # by their first character, as a search skips all others: models have a thousand such tokens
    starts = (f"{re.escape(first)}(?={'|'.join(each)})" for first, each in rests.items())
    return re.compile("|".join(starts)) if rests else None


def _texts(message: Message) -> tuple[str, ...]:
    return message.content, *(call.arguments for call in message.tool_calls)


def _unused(prompt: Prompt) -> str:
    """A character that stands nowhere in the prompt."""
    used = {character for message in prompt.messages for text in _texts(message) for character in text}
    return next(chr(code) for code in range(_FIRST_MARK, _LAST_MARK) if chr(code) not in used)


def _encoder_of(tokenizer: Any, lock: threading.Lock) -> Callable[[str], list[int]]:
    """A function that any thread may call while others encode and decode; it holds the lock if it must.

    transformers' own call changes settings of a fast tokenizer, which fails while another thread borrows it. After a
    first call they are as they should be, and what lies below changes nothing.
    """
    tokenizer("", add_special_tokens=False)
    below = getattr(tokenizer, "backend_tokenizer", None)
    if below is not None:
        return lambda text: list(below.encode(text, add_special_tokens=False).ids)

    def encode(text: str) -> list[int]:
        with lock:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return encode
