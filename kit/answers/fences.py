"""A text in, its fenced blocks out: ```` ```python ```` as models write it and ```` ```output ```` as it is answered.

Lenient where models are: a mark that opens need not begin its line, one that closes stands at its line's begin
or end (`print(x)```` is written too, and ``` may stand in a string of the code), and a block may be left open.
Total on any text, in linear time. It does not know what the code means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Three ticks are written out: a literal beginning is looked for ten times as fast as a repetition.
_MARK = re.compile(r"(?P<ticks>````*+)[ \t]*+(?P<kind>\w*+)(?P<ends_line>[ \t\r]*+$)?", re.MULTILINE)
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


# Kinds of blocks that hold a program, its data or its output. Others (text, latex, markdown) hold the model's words.
_NO_WORDS = _CODE | frozenset(
    "output outputs stdout stderr console terminal tool_code tool_call tool_calls tool_output tool_outputs"
    " tool_response execution interpreter repl ipython ipython3 jupyter pycon sympy sage sagemath cython numpy"
    " c cpp cxx cc csharp cs java javascript js typescript ts bash sh shell zsh powershell r julia jl matlab octave"
    " mathematica wolfram wl maple maxima magma gap gp pari haskell hs rust rs go golang ruby rb perl php swift kotlin"
    " scala lua ocaml lisp scheme prolog fortran basic pascal sql json jsonl yaml yml toml xml html css csv lean lean4"
    " coq isabelle asy asymptote tikz pseudocode algorithm diff".split()
)
_LOOKS_LIKE_CODE = re.compile(
    r"^[ \t>.]*+(?:import[ ]\w|from[ ]\w++[ ]import\b|print[ ]?\(|def[ ]\w++\(|class[ ]\w++[:(]|return\b|\#include\b"
    r"|(?:for|while|if|elif|with)\b[^\n]*+(?<=[:{])[ \t]*+$|else:|try:"
    r"|console\.log\(|System\.out|std::|printf?\(|puts[ ])",
    re.MULTILINE | re.VERBOSE,
)
# Programs of one line outside of a block: at a prompt, or between single ticks.
_PRINTS = re.compile(
    r"`[^`\n]{0,200}\bprint\([^`\n]*+`|^[ \t]*+(?:>>>[ ]|In[ ]\[\d*+\]:[ ])?print\([^\n]*(?<=\))[ \t;]*$", re.MULTILINE
)
_TILDES = re.compile(r"^[ \t]*+~~~++[ \t]*+(?P<kind>\w*+)[^\n~]*+$", re.MULTILINE)
# Tags around calls and results (not yet checked against the chat templates): Qwen, GLM, MiniMax, Nemotron, Gemma,
# smolagents, OpenMath (llm-code); special tokens of Llama 3, Phi-4, Kimi-K2, DeepSeek, Command A and InternLM.
_CALL_TAGS = (
    "tool_calls?|tool_responses?|tool_results?|tool_code|tool_outputs?|tool|toolcall|toolresponse|function_calls?"
    "|function_results?|function_response|function(?=[=\\s])|invoke|execute|execution|execution_results?|interpreter|python"
    "|code_interpreter|llm-code|llm-code-output|observations?|tool_use|tool_input|run_code|execute_(?:python|code)|ipython"
    "|jupyter|jupyter_code|program|stdout|stderr|action|action_input|(?:(?<=\\n<)|(?<=\\A<))code"
)
_CALL = re.compile(
    rf"<(?![\d<>=])(?:(?:\w{{1,12}}:)?(?P<name>{_CALL_TAGS})(?:[\s=][^<>\n]{{0,80}})?|"
    rf"(?P<closes>/)(?:\w{{1,12}}:)?(?P<closed>{_CALL_TAGS}|function|code)\s?)>"
    r"|<\|(?P<begin>python_tag|tool_call|tool_call_begin|tool_calls_begin|tool_calls_section_begin|START_ACTION|action_start|tool_response)\|>"
    r"|<｜(?P<begin2>tool▁calls▁begin|tool▁outputs▁begin)｜>"
    r"|<(?:\|(?P<end>eom_id|/tool_call|tool_call_end|tool_calls_end|tool_calls_section_end|END_ACTION|action_end|/tool_response)\||｜tool▁(?:calls|outputs)▁end｜)>",
    re.IGNORECASE,
)


def without_code(text: str) -> str:
    """A transcript's words: without programs, calls of tools and what they gave, which say nothing in the model's name.

    Blocks of code and of output in any language, in ``` or ~~~; unnamed ones that read like a program; lines that
    print; and the tags and tokens in which the families call tools. A call left open takes the rest of the text with
    it.
    """
    # single characters first: they are looked for ten times as fast
    if "`" in text and "```" in text:
        text = _without_blocks(text)
    if "~" in text and "~~~" in text:
        text = _without_tildes(text)
    if "print(" in text:
        text = _PRINTS.sub("", text)
    if "<" in text and _CALL.search(text):
        text = _without_calls(text)
    return text


def _without_blocks(text: str) -> str:
    words, start = [], 0
    for fence in fences(text):
        if _is_no_words(fence.kind, text[fence.inside]):
            words.append(text[start : fence.start])
            start = fence.end
    return "\n".join([*words, text[start:]]) if words else text


def _is_no_words(kind: str, inside: str) -> bool:
    return kind in _NO_WORDS or _LOOKS_LIKE_CODE.search(inside) is not None


def _without_tildes(text: str) -> str:
    words, start = [], 0
    opening: re.Match[str] | None = None
    for mark in _TILDES.finditer(text):
        if opening is None:
            opening = mark
        elif not mark["kind"]:
            if _is_no_words(opening["kind"].lower(), text[opening.end() : mark.start()]):
                words.append(text[start : opening.start()])
                start = mark.end()
            opening = None
    if opening is not None and _is_no_words(opening["kind"].lower(), text[opening.end() :]):
        return "\n".join([*words, text[start : opening.start()]])
    return "\n".join([*words, text[start:]])


def _without_calls(text: str) -> str:
    words, start = [], 0
    name: str | None = None  # of the tag that is open; "" for a token
    for mark in _CALL.finditer(text):
        closes = bool(mark["closes"] or mark["end"] or not (mark["name"] or mark["begin"] or mark["begin2"]))
        said = (mark["name"] or mark["closed"] or "").lower()
        if name is None and not closes:
            name = said
            words.append(text[start : mark.start()])
        elif name is not None and closes and said == name:
            name = None
            start = mark.end()
    return "\n".join(words if name is not None else [*words, text[start:]])


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
