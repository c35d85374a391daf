"""A raw answer in, the integer 0-99999 that it states out, or the reason why it states none.

In: what `kit.answers.extraction` took from a completion: LaTeX, Markdown, words and units around one number.
Out: an int, reduced by the problem's own modulus if it states one (kit.answers.modulus), or a Rejection.
It never guesses: of two numbers it takes neither, 42.5 is not 42, `1,22` is not 122, `2x = 14` is not 14.

Readings that others might choose otherwise: `50\\%` and `336^\\circ` are 50 and 336 (competitions ask "what
percent"); `x \\approx 11` states nothing; `220_{10}` is 220 and `220_3` is refused, since the problem may
want its digits or its value; a mixed number is a sum; `\\{7\\}` is 7; "5 thousand" is 5000; `(C) 42`, a choice
by its letter and its value, is 42. A comma within round, square or set brackets separates members: `(3,125)` is a pair.
`100m+n = 742` states 742, since it names a sum of several unknowns, and `2x = 14` does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kit.answers.cleaning import cleaned_tokens
from kit.answers.exact import residue, value
from kit.answers.names import is_formula, is_name
from kit.answers.parser import parse_prefix
from kit.answers.rejection import Rejected, Rejection, reject
from kit.answers.syntax_tree import Node
from kit.answers.tokens import DEPTH, Kind, Token
from kit.answers.units import unit_factor
from kit.errors import InputError
from kit.problem import ANSWER_MAX


def normalise(raw: str, *, modulus: int | None = None) -> int | Rejection:
    """Read one answer; total on any text.

    modulus: the one that the problem itself states. An integer is then reduced by it, a negative one too;
    without it an integer outside 0-99999 is Rejection.OUT_OF_RANGE.
    Raises: InputError if modulus < 1.
    """
    if modulus is not None and modulus < 1:
        raise InputError(f"modulus must be at least 1, got {modulus}")
    number = integer(raw, modulus=modulus)
    if isinstance(number, Rejection):
        return number
    if modulus is not None:
        number %= modulus
    return number if 0 <= number <= ANSWER_MAX else Rejection.OUT_OF_RANGE


def integer(raw: str, *, modulus: int | None = None) -> int | Rejection:
    """Read one integer of any size and sign, as data sets other than the competition's have them; total.

    modulus: a number too large to write out is given modulo this, instead of Rejection.TOO_COMPLEX.
    """
    try:
        return _read(raw, modulus)
    except Rejected as verdict:
        return verdict.reason


_PLAIN = re.compile(r"-?[0-9]{1,50}", re.ASCII)


def _read(raw: str, modulus: int | None) -> int:
    if _PLAIN.fullmatch(raw):
        return int(raw)
    tokens = cleaned_tokens(raw)
    if not tokens:
        reject(Rejection.EMPTY)
    return _agreed(list(_statements(tokens, modulus)))


_EQUALS = frozenset({"=", r"\equiv"})
_APPROXIMATES = frozenset({r"\approx", r"\simeq", r"\sim", r"\doteq"})
_RELATIONS = frozenset(
    {"<", ">", "<=", ">=", "!=", r"\le", r"\leq", r"\ge", r"\geq", r"\lt", r"\gt", r"\ne", r"\neq", r"\in"}
)


def _agreed(stated: list[int]) -> int:
    """The one integer that the sides of `a = b = c` state."""
    if not stated:
        reject(Rejection.NOT_A_NUMBER)
    if len(set(stated)) > 1:
        reject(Rejection.SEVERAL_VALUES)
    return stated[0]


def _statements(tokens: list[Token], modulus: int | None) -> Iterator[int]:
    """The value of each side of an equation that has one; a side such as `m+n` or `f(2)` names the rest."""
    sides, relations = _sides(tokens)
    names = [len(sides) > 1 and is_name(side) for side in sides]
    for index, side in enumerate(sides):
        if index and relations[index - 1] in _APPROXIMATES:
            continue  # an approximation never decides
        if index < len(relations) and relations[index] == r"\equiv":
            continue  # `121818 \equiv 21818 \pmod{100000}` states its right side
        if names[index] or (index < len(relations) and _is_left_open(side)):
            continue
        is_between = 0 < index < len(relations) and names[0] and bool(sides[0])
        if is_between and is_formula(side):
            continue  # `S = n(n+1)/2 = 55` names 55 S, whatever n is
        yield _side_value(side, modulus)


def _sides(tokens: list[Token]) -> tuple[list[list[Token]], list[str]]:
    """Split at the relations outside brackets, and at the verb "is" after a name ("the largest n is 34")."""
    sides: list[list[Token]] = [[]]
    relations: list[str] = []
    depth = 0
    for token in tokens:
        depth += DEPTH.get(token.text, 0)
        if token.text in _RELATIONS:
            reject(Rejection.NOT_A_NUMBER)
        verb = _VERB.fullmatch(token.text) if token.kind in (Kind.WORD, Kind.TEXT) else None
        if depth > 0 or not (verb or token.text in _EQUALS or token.text in _APPROXIMATES):
            sides[-1].append(token)
            continue
        if verb and verb[1]:
            sides[-1].append(Token(token.kind, verb[1], token.spaced))
        if verb and not is_name(sides[-1]):
            if _NAMES_ANSWER.fullmatch(" ".join(follows.text for follows in tokens[tokens.index(token) + 1 :])):
                break
            reject(Rejection.NOT_A_NUMBER)  # "68 is less than the sum"
        relations.append("is" if verb else token.text)
        sides.append([])
    return sides, relations


_VERB = re.compile(r"(.*?)\s*\b(?:is|are|equals)\s*[:=]?|(.+?)\s*[:=]", re.IGNORECASE | re.DOTALL)
_NAMES_ANSWER = re.compile(r"(?:the|our|my)? ?(?:(?:final|correct|required|desired) )?(?:answer|result|value)", re.I)


def _is_left_open(side: list[Token]) -> bool:
    """Whether a side has an ellipsis: `1+2+\\dots+10`, but not the list `1, 2, \\dots`."""
    texts = {token.text for token in side}
    return r"\dots" in texts and "," not in texts


def _side_value(side: list[Token], modulus: int | None) -> int:
    node, rest = parse_prefix(side)
    factor = unit_factor(rest, is_degree=any(token.text == r"\circ" for token in side)) if rest else 1
    if factor is None:
        reject(Rejection.SEVERAL_VALUES if _is_list(rest) else Rejection.NOT_A_NUMBER)
    return _evaluate(node, factor, modulus)


def _is_list(rest: list[Token]) -> bool:
    return any(token.kind is Kind.NUMBER for token in rest) and rest[0].text not in ("^", "_")


def _evaluate(node: Node, factor: int, modulus: int | None) -> int:
    try:
        exact = value(node) * factor
    except Rejected as verdict:
        if verdict.reason is not Rejection.TOO_COMPLEX or modulus is None:
            raise
        return residue(node, modulus) * factor
    if exact.denominator != 1:
        reject(Rejection.NOT_AN_INTEGER)
    return exact.numerator
