"""A completion in, the piece of it that states the answer out, or None.

In order:
1. the last whole `\\boxed{}` or `\\fbox{}` of the final channel (`kit.answers.channels`);
2. the last sentence of it that states the answer (`kit.answers.statements`);
3. if the text breaks off in a thought and nothing final has an answer: the last whole box of all.

Code, calls of tools and their output are taken out first: what a program holds or prints is not the model's answer.

The box wins over a statement after it that contradicts it: of 46,749 real texts, where the two differ the box is right
five times as often. But if it states no integer (`\\boxed{0<m<200}`) and a later statement does, that one is taken. An
earlier box is never taken for a last one that cannot be read: it is a value on the way there.

A final text without an answer gives None: what the thought boxed on the way there is not taken for it, and prose of a
thought never counts. A box in a thought that never closes counts all the same (3). It may be a value on the way; but
models box what they take for the answer, then check it at length, and the text was cut by a limit, not by them. Such a
vote decides nothing alone: wrong boxes of several attempts scatter, right ones agree, and the alternative is no vote.

A box is whole if its braces balance; `\\boxed 5` is read up to the next space, `$` or brace. A box without a letter or
digit ("put it in \\boxed{}") is none, nor is one that only speaks of an answer (`\\boxed{answer}`). Of nested boxes the
inner one opens last and is taken. The text ends after an answer at a heading such as "Question:" on a line of its own
paragraph: what a base model invents after its answer is not part of the answer.

What is returned is raw text: `kit.answers.normalisation` reads it. Total on any str, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from kit.answers.channels import said, spelled_out
from kit.answers.fences import without_code
from kit.answers.normalisation import integer
from kit.answers.statements import Stated, first_statement, last_stated
from kit.answers.units import words_of


class Source(StrEnum):
    """How a completion gave its answer."""

    BOXED = "boxed"
    STATED = "stated"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """The text of an answer, as the model wrote it.

    span: [begin, end) of it in the completion; None where the marks of a model's channels hide its place.
    """

    text: str
    source: Source
    span: tuple[int, int] | None = field(default=None, compare=False)


def extract(text: str, *, prefers_integer: bool = True) -> RawAnswer | None:
    """The answer of one completion; the module's text tells the order.

    prefers_integer: whether a later statement of an integer beats a box that holds none; not where answers are
    expressions of any kind.
    """
    words_only = without_code(spelled_out(text))
    words = said(words_only)
    final = _without_run_on(words.final)
    answer = _answer_of(final, prefers_integer=prefers_integer)
    if answer is None and words.breaks_off_in_thought:
        final, box = words_only, _last_box(words_only)
        answer = None if box is None else _boxed(final, box)
    return None if answer is None else _placed(answer, final, text)


_PLAIN = re.compile(r"-?[0-9]{1,50}", re.ASCII)
_SHORTEST_STATED_CHARS = len("}\nA:5")  # of a box's end and a statement after it
_ANY_MODULUS = 100_000  # under which a number of any size can be read


def _answer_of(final: str, *, prefers_integer: bool) -> RawAnswer | None:
    """The answer of a final channel, with its span there."""
    box = _last_box(final)
    if box is None:
        stated = last_stated(final)
        return None if stated is None else _said(stated)
    inside = final[box.start : box.end]
    is_followed = len(final) - box.end >= _SHORTEST_STATED_CHARS
    if prefers_integer and is_followed and not _PLAIN.fullmatch(inside):
        stated = last_stated(final, after=box.end)
        if stated is not None and _is_integer(stated.text) and not _is_integer(inside):
            return _said(stated)
    return _boxed(final, box)


def _boxed(text: str, box: _Box) -> RawAnswer:
    return RawAnswer(text[box.start : box.end], Source.BOXED, (box.start, box.end))


def _said(stated: Stated) -> RawAnswer:
    return RawAnswer(stated.text, Source.STATED, (stated.begin, stated.begin + len(stated.text.removesuffix("?"))))


_CONTEXT_CHARS = 40  # before an answer, which tell its place from others with the same words


def _placed(answer: RawAnswer, read: str, whole: str) -> RawAnswer:
    """The answer with its span in the whole text, of which `read` is what marks, thoughts and code have left."""
    assert answer.span is not None
    begin, end = answer.span
    if read is whole or whole.startswith(read[:end]):
        return answer
    context = read[max(0, begin - _CONTEXT_CHARS) : end]
    context = context[context.rfind("\n", 0, len(context) - (end - begin)) + 1 :]  # lines stay lines
    place = whole.rfind(context)
    span = None if place < 0 else (place + len(context) - (end - begin), place + len(context))
    return RawAnswer(answer.text, answer.source, span)


def _is_integer(raw: str) -> bool:
    return isinstance(integer(raw, modulus=_ANY_MODULUS), int)


# ------------------------------------------------------------------------------------------ run-on

_RUN_ON = re.compile(
    r"""\n[ \t]*+(?=[#*\[hinqu]|a[nsu]|e[jx]|p[ru]|tas|fra|[вз问题題例문])(?:
    \#++[ \t]*+(?P<role>instruction|response|input|task|human|user|assistant)[ \t]*+:?[ \t]*+(?=\n)
    |\[(?:question|problem|exercise|task)\]
    |(?P<marked>\#++[ \t]*+)?(?P<bold>\*\*)?(?:(?:new|next|another)[ \t]++)?
     (?:(?P<chat>human|user|assistant|instruction)|question|problem|exercise|q|task|puzzle|(?P<example>example)
      |probl[eè]me|problema|pregunta|ejercicio|exercice|aufgabe|frage|вопрос|задача|问题|題目|题目|例题|例題|問題|문제)
     (?:[ \t]*+\#?(?(example)\d|\d*)\d*+(?:\*\*)?[ \t]*+[:：]
       |[ \t]++\#\d++(?=\s)|[ \t]++[A-Z](?:\*\*)?[ \t]*+:
       |[ \t]*+\#?\d++(?:[.)](?!\d)(?:\*\*)?(?=\s)|\*\*[.:]?(?=\s)|[ \t]*+(?=\n))
       |(?(marked)|(?(bold)\*\*|(?!)))[ \t]*+(?=\n)))""",
    re.IGNORECASE | re.VERBOSE,
)
# A heading within a solution: the writer asks himself something, or tells of a problem with it.
_OWN_WORDS = re.compile(
    r"""(?:\*\*)?[ \t]*+(?:[^\n?]{0,200}\?\s++(?:no|yes|not|nope|because|well|indeed|of[ ]course|almost|sure|hmm
      |actually)\b
    |(?:this|that|it|we|i|our|but)\b(?![^\n.?]{0,200}\?)
    |(?:did|do|does|have|has|can|could|should|are|is)[ ](?:we|i|this|that|it|our)\b)""",
    re.IGNORECASE | re.VERBOSE,
)


def _without_run_on(text: str) -> str:
    """Cut the text at the first heading of another question that comes after an answer."""
    if _RUN_ON.search(text) is None:
        return text
    ends = [box.end for box in _boxes(text) if _says_something(text, box)]
    if stated := first_statement(text):
        ends.append(stated)
    for heading in _RUN_ON.finditer(text, min(ends)) if ends else ():
        if heading["chat"] or heading["role"] or not _OWN_WORDS.match(text, heading.end()):
            return text[: heading.start()]
    return text


# -------------------------------------------------------------------------------------------- boxes

_BOX_COMMANDS = ("\\boxed", "\\fbox")
_BARE = r"\\(?:boxed|fbox)\s*+(?P<bare>-?\d[^\s{}$\\]*+)"
_OPENS_BOX = re.compile(r"\\(?:boxed|fbox)\s*+\{(?!\s*+\})|" + _BARE, re.ASCII)
_BARE_BOX = re.compile(_BARE, re.ASCII)
# Braces, in runs, with what does not change the depth passed over: escaped characters and flat groups.
# Each alternative begins with one character, so that the search skips what is none of them.
_BRACES = re.compile(r"\\.|\{[^{}\\]*+\}(?:\{[^{}\\]*+\})*+|\{\{*+|\}\}*+", re.DOTALL)
_SAYS = re.compile(r"[^\W_]")


@dataclass(frozen=True, slots=True)
class _Box:
    """The inside of a whole box."""

    start: int
    end: int


def last_boxed(text: str) -> str | None:
    """The inside of the last whole `\\boxed{}` or `\\fbox{}` that says something; None without one."""
    box = _last_box(text)
    return None if box is None else text[box.start : box.end]


def _last_box(text: str) -> _Box | None:
    for box in _boxes(text):
        if _says_something(text, box):
            return box
    return None


# Words of a box that speaks of the answer instead of giving it, or says that there is no more to say.
_OF_AN_ANSWER = frozenset(
    "answer answers ans result number integer value solution here done qed checkmark blacksquare".split()
)
_AROUND_IT = _OF_AN_ANSWER | frozenset(
    "final your the my our an a insert put in inside is of to this problem question numerical numeric expression"
    " box format form correct only one single".split()
)
_SPEAKS_OF_A_BOX = re.compile(r"\}?\$?\s++(?:form|format|notation|environment|command|syntax|tags?|braces)\b")
_WRAPPING = re.compile(r"\\(?:text\w*|mathrm|mathbf|boxed|fbox)(?![A-Za-z])")
_MENTION_CHARS = 60


def _says_something(text: str, box: _Box) -> bool:
    said = _SAYS.search(text, box.start, box.end)
    return said is not None and (said[0].isdigit() or not _is_mention(text, box))


def _is_mention(text: str, box: _Box) -> bool:
    """Whether a box only speaks of an answer: `\\boxed{\\text{your answer}}`, `the \\boxed{n} format`."""
    inside = text[box.start : min(box.end, box.start + _MENTION_CHARS)]
    if box.end - box.start > _MENTION_CHARS or any(map(str.isdigit, inside)):
        return False
    words = words_of(_WRAPPING.sub(" ", inside))
    is_of_answer = any(word in _OF_AN_ANSWER for word in words) and all(word in _AROUND_IT for word in words)
    return is_of_answer or _SPEAKS_OF_A_BOX.match(text, box.end) is not None


def _boxes(text: str) -> Iterator[_Box]:
    """The whole boxes, the one that opens last first.

    Going backwards, each stretch between two openings is scanned once: what stays of it are the closing
    braces that nothing in it opened, and those serve the boxes that open before it. A flat box is told before its
    stretch is scanned, since most readers want no other.
    """
    closing: list[int] = []  # unmatched closing braces after `upto`, the nearest last
    upto = len(text)
    for opening in _openings(text):
        if opening["bare"] is not None:
            yield _Box(*opening.span("bare"))
            continue
        start = opening.end()
        first = text.find("}", start, upto)
        is_flat = first >= 0 and text.find("{", start, first) < 0 and text.find("\\", start, first) < 0
        if is_flat:
            yield _Box(start, first)
        if closing or first >= 0:
            _scan(text, start, upto, closing)
        upto = opening.start()
        if closing:
            end = closing.pop()
            if not is_flat:
                yield _Box(start, end)


def _openings(text: str) -> Iterator[re.Match[str]]:
    """Where boxes open, the last first: looked for from the end, for most texts need no other than that."""
    beyond = text.rfind("}") + 1  # no brace that opens here is ever closed
    places = [text.rfind(command) for command in _BOX_COMMANDS]
    while (place := max(places)) >= 0:
        opening = _OPENS_BOX.match(text, place, beyond) if place < beyond else _BARE_BOX.match(text, place)
        if opening is not None:
            yield opening
        found = places.index(place)
        places[found] = text.rfind(_BOX_COMMANDS[found], 0, place)


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
