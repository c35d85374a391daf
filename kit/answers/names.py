"""Whether a side of an equation names a quantity (`m+n`, `f(2)`, `\\angle ABC`) rather than gives its value.

In: the tokens of one side. Out: yes or no. `2x` and `x+1` are no names: who reads `2x = 14` as 14 answers wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kit.answers.tokens import BRACKETS, DEPTH, EXPRESSION_COMMANDS, Kind, Token
from kit.answers.units import words_of

_CHANGES_A_NAME = frozenset(
    "half twice thrice double doubled triple tripled halved negative not no never false".split()
)
_BIG_OPERATORS = frozenset({r"\sum", r"\prod", r"\int", r"\lim", r"\iint", r"\oint"})
_VERBAL = (Kind.WORD, Kind.TEXT)
_UNKNOWNS = frozenset("ijklmnxyzt")  # which a bracket multiplies; other letters before a bracket are functions
_WEIGHTED_SUM = re.compile(r"-?(?:\d+\*?)?[A-Za-z]+(?:[+-](?:\d+\*?)?[A-Za-z]+)+", re.ASCII)
_FUNCTIONS_OF_ONE = frozenset({r"\sqrt", r"\log", r"\ln", r"\lg", r"\exp", "sqrt", "log", "ln", "exp"})
_SIGNS = frozenset({"+", "-", r"\pm", r"\mp"})
_MODULO_WORDS = frozenset({r"\bmod", r"\pmod", "mod", "modulo", "(mod", "(modulo"})


def is_name(side: list[Token]) -> bool:
    """Whether a side names a quantity: letters, with numbers only as powers, indices, arguments or moduli.

    `2x`, `x+1`, `\\frac{x}{2}`, `-x` and `x!` are no names, since `2x = 14` does not state 14. Nothing, as in
    `= 7`, is one.
    """
    modulo = next((place for place, token in enumerate(side) if token.text in _MODULO_WORDS), None)
    if modulo:  # `N \bmod 10^5`
        side = side[:modulo]
    if not side or side[0].text in _BIG_OPERATORS:
        return True
    if _is_function_of_one(side):
        return False
    if not any(map(_is_letter, side)) or _is_tuple(side) or _multiplies_itself(side):
        return False
    if any(word in _CHANGES_A_NAME for token in side if token.kind in _VERBAL for word in words_of(token.text)):
        return False
    return not any(map(_alters, *_with_context(side))) or _is_weighted_sum(side)


def is_formula(side: list[Token]) -> bool:
    """Whether a side has letters, so that it has no value of its own."""
    words = [token for token in side if token.kind in _VERBAL and _is_no_product(token.text)]
    return any(map(_is_letter, side)) and not words and not any(token.text in (",", ";", ":") for token in side)


def _is_tuple(side: list[Token]) -> bool:
    """Whether a side names several: `x, y`, `(m,n)`."""
    parts = re.split(",", "".join(token.text for token in side).strip("()[]"))
    return len(parts) > 1 and all(len(part) <= 1 for part in parts)


def _is_function_of_one(side: list[Token]) -> bool:
    """Whether a side is a function of one unknown, which has another value: `\\sqrt{n}`, `\\log_2 n`."""
    letters = {token.text for token in side[1:] if _is_letter(token)}
    return side[0].text in _FUNCTIONS_OF_ONE and len(letters) == 1 and all(len(letter) == 1 for letter in letters)


def _multiplies_itself(side: list[Token]) -> bool:
    """Whether a letter stands before a bracket that has it, too: `k(k+1)`."""
    for place, token in enumerate(side[:-1]):
        if token.kind is Kind.WORD and side[place + 1].text in ("(", "["):
            closer = _closing_place(side, place + 1)
            if any(inner.text == token.text for inner in side[place + 2 : closer]):
                return True
    return False


def _closing_place(side: Sequence[Token], opening: int) -> int:
    depth = 0
    for place in range(opening, len(side)):
        depth += DEPTH.get(side[place].text, 0)
        if depth == 0:
            return place
    return len(side)


def _is_weighted_sum(side: list[Token]) -> bool:
    """Whether a side is the sum of several unknowns that problems ask for: `100m+n`; a line's `2x+3y` is not."""
    if not _WEIGHTED_SUM.fullmatch("".join(token.text for token in side)):
        return False
    letters = {token.text for token in side if token.kind is Kind.WORD}
    return len(letters) > 1 and all(len(letter) == 1 for letter in letters) and not {"x", "y"} <= letters


def _is_letter(token: Token) -> bool:
    if token.kind is Kind.COMMAND:
        return token.text not in EXPRESSION_COMMANDS
    return token.kind in _VERBAL


def _with_context(side: list[Token]) -> tuple[list[Token], list[Token], list[bool]]:
    """The tokens, what stands before each, and whether each is inside a power, an index or an argument."""
    before = [Token(Kind.SYMBOL, ""), *side[:-1]]
    inside: list[bool] = []
    groups = [False]
    was_inside = False  # whether the token before ended an index or argument: `P_2(10)`, `f^{-1}(2)`
    for token, previous in zip(side, before, strict=True):
        closed_inside, was_inside = was_inside, token.kind is Kind.NUMBER and previous.text == "_"
        if token.text in BRACKETS:
            is_index = previous.text in ("^", "_")
            is_command = previous.kind is Kind.COMMAND and _is_letter(previous)  # `\mathcal{F}`
            is_function = _is_letter(previous) and previous.text not in _UNKNOWNS
            is_applied = token.text != "{" and (is_function or closed_inside or previous.text == "'")
            groups.append(groups[-1] or is_index or is_command or is_applied)
        elif token.text in BRACKETS.values() and len(groups) > 1:
            was_inside = groups.pop()
        inside.append(groups[-1])
    return side, before, inside


def _alters(token: Token, previous: Token, is_inside: bool) -> bool:
    """Whether a token makes another quantity of the one that the letters name."""
    if is_inside:
        return False
    if token.kind is Kind.NUMBER:
        return previous.text not in ("^", "_")
    return token.text == "!" or (token.text in _SIGNS and (not previous.text or previous.text in (*BRACKETS, "|")))


def _is_no_product(letters: str) -> bool:
    """Whether letters are a word and no product of unknowns."""
    return len(letters) > 2 or letters in ("or", "if", "is", "in", "to", "by", "of")
