"""A completion in, the piece of it that states the answer out, or None.

In order:
1. the last whole `\\boxed{}` or `\\fbox{}` of the final channel;
2. the last sentence of it that begins "the answer is …", or line `#### …`, `A: …`, `Answer: …`;
3. if the text breaks off in a thought and nothing final has an answer: the last whole box of all.

Blocks of Python and of its output (```` ```python ````, ```` ```output ````) are taken out first: what a program
holds or prints is not the model's answer.

The final channel: gpt-oss's `<|channel|>final<|message|>` messages (or what follows "assistantfinal", what is
left of that where the engine drops special tokens); for models that think in tags, what stands outside
`<think>…</think>`, where a `</think>` that nothing opened ends a thought that the prompt opened; any other
text is final as a whole. So a second thought never beats the answer already given. A final text without an
answer gives None: what the thought boxed on the way there is not taken for it, and prose of a thought never
counts.

A box is whole if its braces balance; `\\boxed 5` is read up to the next space, `$` or brace. A box without a
letter or digit ("put it in \\boxed{}") is none. Of nested boxes the inner one opens last and is taken.
The text ends at an end-of-turn token, and after an answer at a heading such as "Question:" on a line of its
own paragraph: what a base model invents after its answer is not part of the answer.
Prose states an answer only where the sentence begins so, in the last lines: "if the answer is 5", "for n=2
the answer is 3" do not count.

What is returned is raw text: `kit.answers.normalisation` reads it. Total on any str, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from kit.answers.fences import without_code


class Source(StrEnum):
    """How a completion gave its answer."""

    BOXED = "boxed"
    STATED = "stated"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """The text of an answer, as the model wrote it."""

    text: str
    source: Source


def extract(text: str) -> RawAnswer | None:
    """The answer of one completion; the module's text tells the order."""
    text = without_code(text)
    said = _said(text)
    answer = _answer_of(_without_run_on(said.final))
    if answer is None and said.breaks_off_in_thought:
        boxed = last_boxed(text)
        return None if boxed is None else RawAnswer(boxed, Source.BOXED)
    return answer


def _answer_of(final: str) -> RawAnswer | None:
    boxed = last_boxed(final)
    if boxed is not None:
        return RawAnswer(boxed, Source.BOXED)
    stated = _last_stated(final)
    return None if stated is None else RawAnswer(stated, Source.STATED)


# ------------------------------------------------------------------------------------------ channels

_CHANNEL = "<|channel|>"
_FINAL = re.compile(r"<\|channel\|>\s*final\b(?:\s*<\|constrain\|>\s*\w*)?\s*<\|message\|>")
_BARE_ANALYSIS = re.compile(r"analysis(?=[A-Z])|(?s:analysis\b.*assistantfinal)")
_BARE_THOUGHT = re.compile("assistant(?:analysis|commentary)")
_THINK_TAG = re.compile(r"<(?P<closes>/)?think>")
_END_OF_TURN = re.compile(
    r"<\|(?:im_end|im_start|endoftext|end_of_text|eot_id|eom_id|start_header_id|return|end|start|call|channel)\|>"
    r"|</s>|<end_of_turn>|<｜end▁of▁sentence｜>"
)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a completion said rather than thought."""

    final: str
    breaks_off_in_thought: bool


def _said(text: str) -> _Said:
    if _CHANNEL in text:
        text = "\n".join(_final_messages(text))
    elif _BARE_ANALYSIS.match(text):
        messages = text.split("assistantfinal")[1:]
        text = "\n".join(_BARE_THOUGHT.split(message, maxsplit=1)[0] for message in messages)
    return _outside_thoughts(text)


def _final_messages(text: str) -> list[str]:
    """gpt-oss's final messages: usually one, the last perhaps cut off; none if it never got so far."""
    starts = [match.end() for match in _FINAL.finditer(text)]
    return [_until_end_of_turn(text[start:end]) for start, end in pairwise([*starts, len(text)])]


def _outside_thoughts(text: str) -> _Said:
    pieces: list[str] = []
    start = 0
    is_thinking = False
    for tag in _THINK_TAG.finditer(text):
        if not tag["closes"] and not is_thinking:
            pieces.append(text[start : tag.start()])
        is_thinking = tag["closes"] is None
        start = tag.end()
    if not is_thinking:
        pieces.append(text[start:])
    final = _until_end_of_turn("\n".join(pieces))
    return _Said(final, is_thinking or not final.strip())


def _until_end_of_turn(text: str) -> str:
    end = _END_OF_TURN.search(text) if "<" in text else None
    return text[: end.start()] if end else text


_RUN_ON = re.compile(
    r"\n[ \t]*+(?:#++[ \t]*+|\*\*)?(?:new[ \t]++|next[ \t]++)?"
    r"(?:question|problem|exercise|human|user|q)[ \t]*+\d*+[ \t]*+:",
    re.IGNORECASE,
)


def _without_run_on(text: str) -> str:
    """Cut the text at the first heading of another question that comes after an answer."""
    if _RUN_ON.search(text) is None:
        return text
    ends = [box.end for box in _boxes(text) if _says_something(text, box)]
    if stated := _STATES.search(text):
        ends.append(stated.end())
    heading = _RUN_ON.search(text, min(ends)) if ends else None
    return text[: heading.start()] if heading else text


# -------------------------------------------------------------------------------------------- boxes

_BARE = r"\\(?:boxed|fbox)\s*+(?P<bare>-?\d[^\s{}$\\]*+)"
_OPENS_BOX = re.compile(r"\\(?:boxed|fbox)\s*+\{(?!\s*+\})|" + _BARE, re.ASCII)
_BARE_BOX = re.compile(_BARE, re.ASCII)
# Braces, in runs, with what does not change the depth passed over: escaped characters and flat groups.
_BRACES = re.compile(r"\\.|(?:\{[^{}\\]*+\})++|\{++|\}++", re.DOTALL)
_SAYS = re.compile(r"[^\W_]")


@dataclass(frozen=True, slots=True)
class _Box:
    """The inside of a whole box."""

    start: int
    end: int


def last_boxed(text: str) -> str | None:
    """The inside of the last whole `\\boxed{}` or `\\fbox{}` that says something; None without one."""
    return next((text[box.start : box.end] for box in _boxes(text) if _says_something(text, box)), None)


def _says_something(text: str, box: _Box) -> bool:
    return _SAYS.search(text, box.start, box.end) is not None


def _boxes(text: str) -> Iterator[_Box]:
    """The whole boxes, the one that opens last first.

    Going backwards, each stretch between two openings is scanned once: what stays of it are the closing
    braces that nothing in it opened, and those serve the boxes that open before it.
    """
    closing: list[int] = []  # unmatched closing braces after `upto`, the nearest last
    upto = len(text)
    beyond = text.rfind("}") + 1  # nothing that opens here is ever closed
    openings = [*_OPENS_BOX.finditer(text, 0, beyond), *_BARE_BOX.finditer(text, beyond)]
    for opening in reversed(openings):
        if opening["bare"] is not None:
            yield _Box(*opening.span("bare"))
            continue
        if closing or text.find("}", opening.end(), upto) >= 0:
            _scan(text, opening.end(), upto, closing)
        upto = opening.start()
        if closing:
            yield _Box(opening.end(), closing.pop())


def _scan(text: str, start: int, upto: int, closing: list[int]) -> None:
    """Bring the braces of text[start:upto] into `closing`."""
    opened = 0
    unmatched: list[int] = []
    for run in _BRACES.finditer(text, start, upto):
        braces = run[0]
        if braces[-1] == "{" and braces[0] == "{":
            opened += len(braces)
        elif braces[0] == "}":
            matched = min(opened, len(braces))
            opened -= matched
            unmatched.extend(range(run.start() + matched, run.end()))
    del closing[max(0, len(closing) - opened) :]
    closing.extend(reversed(unmatched))


# --------------------------------------------------------------------------------------- statements

_STATES = re.compile(
    r"""(?:\A|(?<=\n)|(?<=[.!?]\s))[ \t]*+
    (?:[#]{4}(?=[ \t]*+[-$\d\\])
      |(?:[#]{1,3}[ \t]++)?(?:\*\*)?
       (?:(?:so|thus|hence|therefore|then|and|finally|consequently|overall|in[ ]conclusion)\b,?[ \t]++){0,3}
       (?:(?:the|our|my)[ ])?(?:(?:final|correct|required|desired|numerical)[ ])?
       (?:answer(?:[ ]to[ ](?:the|this)[ ](?:problem|question))?|a(?=[ \t]*+:))(?:\*\*)?[ \t]*+
       (?::|=|(?:is|equals)\b(?:[ \t]*+(?:thus|therefore|then|indeed|simply)\b)?[ \t]*+:?+)
       (?:\*\*)?
      |(?:[#]{1,4}[ \t]++|\*\*)(?:final[ ])?answer(?:\*\*)?[ \t]*+(?=\n))""",
    re.IGNORECASE | re.VERBOSE,
)
_DISPLAY = {"\\[": "\\]", "$$": "$$"}
_CLAUSE_END = re.compile(
    r"\n|[.!?](?=[\s*]|\Z)|;|,?\s(?:because|since|as|which|so)\b|,\s(?:where|and\s(?:we|I|that))\b", re.IGNORECASE
)
_CONCLUSION_CHARS = 500  # of the end of a text: a statement further up was followed by more reasoning
_CLAUSE_CHARS = 300


def _last_stated(text: str) -> str | None:
    stated = None
    text = text.rstrip()
    for match in _STATES.finditer(text, max(0, len(text) - _CONCLUSION_CHARS)):
        clause = _clause(text[match.end() : match.end() + _CLAUSE_CHARS].lstrip())
        if _SAYS.search(clause):
            stated = clause
    return stated


def _clause(after: str) -> str:
    """What an "answer is" says: a display formula, or the words up to the end of the sentence."""
    closer = _DISPLAY.get(after[:2])
    if closer:
        return after[2:].partition(closer)[0].strip()
    end = _CLAUSE_END.search(after)
    return (after[: end.start()] if end else after).strip()
