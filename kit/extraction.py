"""A completion in, the piece of it that states the answer out, or None.

In order:
1. the last whole `\\boxed{}` or `\\fbox{}` of the final channel;
2. the last sentence of it that begins "the answer is …", or line `#### …`, `A: …`, `Answer: …`;
3. if there is no final channel text at all (cut off while thinking): the last whole box of the thought.

The final channel: gpt-oss's `<|channel|>final<|message|>` (or "assistantfinal", what is left of that where
the engine drops special tokens); for models that think in tags, what follows the last `</think>`; any other
text is final as a whole. A final text without an answer gives None: what the thought boxed on the way there
is not taken for it, and prose of a thought never counts.

A box is whole if its braces balance; `\\boxed 5` is read up to the next space, `$` or brace. A box without a
letter or digit ("put it in \\boxed{}") is none. Of nested boxes the inner one opens last and is taken.
The text ends at an end-of-turn token, and after an answer at a heading such as "Question:" on a line of its
own paragraph: what a base model invents after its answer is not part of the answer.
Prose states an answer only where the sentence begins so, in the last lines: "if the answer is 5", "for n=2
the answer is 3" and code output do not count.

What is returned is raw text: `kit.normalisation` reads it. Total on any str, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


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
    final = _final_channel(text)
    if not final.strip():
        boxed = last_boxed(text)
        return None if boxed is None else RawAnswer(boxed, Source.BOXED)
    final = _without_run_on(final)
    boxed = last_boxed(final)
    if boxed is not None:
        return RawAnswer(boxed, Source.BOXED)
    stated = _last_stated(final)
    return None if stated is None else RawAnswer(stated, Source.STATED)


# ------------------------------------------------------------------------------------------ channels

_CHANNEL = "<|channel|>"
_FINAL = re.compile(r"<\|channel\|>\s*final\b(?:\s*<\|constrain\|>\s*\w*)?\s*<\|message\|>")
_BARE_ANALYSIS = re.compile(r"analysis(?=[A-Z])|(?s:analysis\b.*assistantfinal)")
_END_OF_TURN = re.compile(
    r"<\|(?:im_end|im_start|endoftext|end_of_text|eot_id|eom_id|start_header_id|return|end|start|call|channel)\|>"
    r"|</s>|<end_of_turn>|<｜end▁of▁sentence｜>"
)


def _final_channel(text: str) -> str:
    """What the model said rather than thought; "" if it never got so far."""
    if _CHANNEL in text:
        text = _after_last(_FINAL, text)
    elif _BARE_ANALYSIS.match(text):
        text = text.partition("assistantfinal")[2]
    if "</think>" in text:
        text = text[text.rindex("</think>") + len("</think>") :]
    elif text.lstrip().startswith("<think>"):
        return ""
    end = _END_OF_TURN.search(text) if "<" in text else None
    return text[: end.start()] if end else text


def _after_last(marker: re.Pattern[str], text: str) -> str:
    end = len(text)
    for match in marker.finditer(text):
        end = match.end()
    return text[end:]


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
