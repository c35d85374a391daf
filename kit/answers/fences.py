"""A text in, its fenced blocks out: ```` ```python ```` as models write it and ```` ```output ```` as it is answered.

Lenient where models are: a mark that opens need not begin its line, one that closes stands at its line's begin
or end (`print(x)```` is written too, and ``` may stand in a string of the code), and a block may be left open.
Total on any text, in linear time. It does not know what the code means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MARK = re.compile(r"(?P<ticks>`{3,}+)[ \t]*+(?P<kind>\w*+)(?P<ends_line>[ \t\r]*+$)?", re.MULTILINE)
_INDENT_CHARS = 80  # before a mark that begins its line, at most
_CODE = frozenset({"python", "python3", "py"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A fenced block. start, end: of all of it in the text, its marks included; inside: of what it holds."""

    kind: str
    start: int
    end: int
    inside: slice
    is_closed: bool

    @property
    def is_code(self) -> bool:
        """Whether it is Python."""
        return self.kind in _CODE

    @property
    def is_output(self) -> bool:
        """Whether it is what Python printed."""
        return self.kind == "output"


def fences(text: str) -> Iterator[Fence]:
    """The fenced blocks of a text, in order; a mark with a word closes the block that is open and opens another."""
    opening: re.Match[str] | None = None
    for mark in _MARK.finditer(text):
        if opening is None:
            opening = mark
        elif mark["ends_line"] is not None or _begins_line(text, mark.start()):
            end = mark.start() if mark["kind"] else mark.end("ticks")
            yield _fence(opening, upto=mark.start(), end=end, is_closed=True)
            opening = mark if mark["kind"] else None
    if opening is not None:
        yield _fence(opening, upto=len(text), end=len(text), is_closed=False)


def _fence(opening: re.Match[str], *, upto: int, end: int, is_closed: bool) -> Fence:
    inside = slice(opening.end("kind"), upto)
    return Fence(kind=opening["kind"].lower(), start=opening.start(), end=end, inside=inside, is_closed=is_closed)


def _begins_line(text: str, place: int) -> bool:
    before = text[max(0, place - _INDENT_CHARS) : place].rpartition("\n")
    return not before[2].strip() and (before[1] == "\n" or place <= _INDENT_CHARS)


def without_code(text: str) -> str:
    """A transcript's words: without its blocks of Python and of output, which say nothing in the model's name."""
    if "```" not in text:
        return text  # as most texts; the search for marks takes ten times as long to say so
    words, start = [], 0
    for fence in fences(text):
        if fence.is_code or fence.is_output:
            words.append(text[start : fence.start])
            start = fence.end
    return "\n".join([*words, text[start:]]) if words else text


def fence_closed(text: str) -> str:
    """The text, with the block closed that is open at its end."""
    blocks = list(fences(text))
    return f"{text}\n```" if blocks and not blocks[-1].is_closed else text


_DELIMITER = re.compile(r"`{3,}|<(?=[|｜]|/s>|end_of_turn>|/?think>|/?tool_)")


def undelimited(text: str) -> str:
    """The text with the marks spaced out that would end its block, a thought or a turn.

    Sources of the marks: the chat templates of Qwen3, gpt-oss, DeepSeek, Llama and Gemma.
    """
    return _DELIMITER.sub(lambda mark: "< " if mark[0] == "<" else " ".join(mark[0]), text)
