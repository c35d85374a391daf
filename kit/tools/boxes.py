r"""Reads what a model said inside a box that was opened for it. Out: its answer in one box, and nothing more.

The last call (`kit.tools.reasoner`) puts `\boxed{` into the model's mouth, and what comes back is rarely only `42}`:
the model ends with `42` or `42$.`, goes on after the box with other boxes, or opens the box once more. Here the words
become one whole box, or stay an open one, which `kit.answers.extraction` reads as no answer. Whether what stands in it
is a number is for `kit.answers.normalisation` to say. Total on any text, in linear time.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

CLOSING = "}"
"""What ends the answer, unless it closes a group within it."""

_BRACES = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*+\{)|\\.|\{|\}", re.DOTALL)
_CLAUSE_END = re.compile(
    r"(?<=\S)[ \t]*+\n|(?<=[\d})])[ \t]*+\$|\\[\])]|[.?](?=\s)|;|,?\s(?:because|since|as|which|so|where)\b",
    re.IGNORECASE,
)
_BEGINS_WITH_NUMBER = re.compile(r"\s*+\$?\s*+-?\d")
_NO_END = string.whitespace + "\\"  # a lone backslash at the end would make the closing brace a character


def is_closed(reply: str) -> bool:
    """Whether a box closes: the one that was opened for the reply, or one that it opens itself."""
    return _scan(reply).end is not None


def box_closed(reply: str, *, is_ended: bool) -> str:
    """The reply up to the end of the first box to close; one that leaves its box open is closed after its first clause.

    So is one that gives a number there and goes on about another box: `42. Before, I had \\boxed{1}`.
    is_ended: whether the model ended the reply itself. If it was cut off in its first clause, that may be the middle
    of a number, and the box stays open.
    """
    clause = _CLAUSE_END.search(reply)
    scan = _scan(reply)
    is_answered = clause is not None and clause.start() < scan.opened and _BEGINS_WITH_NUMBER.match(reply)
    if scan.end is not None and not is_answered:
        return reply[: scan.end]
    if clause is None and not is_ended:
        return reply
    said = (reply[: clause.start()] if clause else reply).rstrip(_NO_END)
    return said + CLOSING * _scan(said).num_open


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """The first box to close or, if none does, the inmost that is open.

    opened: where it opens; 0 for the one that was opened for the reply. end: where it closes. num_open: how many
    braces would close it, at the reply's end.
    """

    opened: int
    end: int | None
    num_open: int


def _scan(reply: str) -> _Scan:
    opened, depth = 0, 1  # depth: of braces, from the inmost box on; the boxes around it never come into play
    for mark in _BRACES.finditer(reply):
        if mark["box"]:
            opened, depth = mark.start(), 1
        elif mark[0] == "{":
            depth += 1
        elif mark[0] == CLOSING:
            depth -= 1
            if not depth:
                return _Scan(opened=opened, end=mark.end(), num_open=0)
    return _Scan(opened=opened, end=None, num_open=depth)
