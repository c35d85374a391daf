"""The words after a number: what they multiply it by, or that they make it another number.

In: tokens after an expression (`cm`, `thousand`, `\\text{ twentieths}`). Out: a factor, 1 for a unit; or None.
An unknown word after a number is taken for what is counted ("14 chicks"), so the words that change a number are listed
here by kind: fractions, bases, comparisons, conditions, doubts. A symbol in roman type (`2\\mathrm{i}`) is no unit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from math import prod

from kit.answers.tokens import Kind, Token

_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALES |= {f"{word}s": scale for word, scale in _SCALES.items()}

# What follows a number in a sentence without changing it: "42 (by symmetry)", but not "42 divided by".
_JOINING = frozenset("by where to and for over through between but remainder score".split())
# Words after a number that make it another number, or one of several, or a condition, or no answer.
_ALTERING = _JOINING | frozenset(
    # other amounts
    "dozen dozens ten tens scores lakh lakhs crore crores gross grand k half halves quarter quarters myriad myriads bn"
    # other operations
    " mod modulo base plus minus times less fewer more squared cubed factorial choose sqrt plusminus negative pi"
    " complement complemented conjugate conjugated opposite negation successor predecessor flipped shifted mirrored"
    " reflected rotated swapped transposed permuted shuffled scaled encoded decoded encrypted concatenated repeated"
    " truncated adjusted transformed enlarged shrunk offset backward backwards reverse too ish"
    " doubled tripled trebled quadrupled quintupled halved negated inverted reversed increased decreased incremented"
    " decremented reduced raised multiplied divided added subtracted rounded truncated twice thrice reciprocal inverse"
    # comparisons
    " than least most except above below under beneath beyond exceeding greater larger bigger higher smaller lower"
    " short shy off almost nearly about approx approximately roughly around"
    # conditions and alternatives
    " or if when unless otherwise provided assuming whenever iff suppose supposing until either respectively versus vs"
    # doubts, and verbs that begin another statement
    " not no nor wrong impossible incorrect false invalid absurd perhaps maybe possibly probably wait hmm never neither"
    " cannot isn aren wasn doesn don is was were are would could should equals has have"
    # symbols by their names
    " alpha beta gamma theta phi psi omega infinity infty xyz abc"
    " sin cos tan cot csc sinh cosh tanh arcsin arccos arctan log ln lg exp arg det dim ker sgn gcd lcm max sup inf lim"
    .split()
)  # fmt: skip
# These change the number at the end of the words ("101 in binary"), not before what is counted ("8 binary strings").
_ALTERING_LAST = frozenset(
    "binary ternary quaternary quinary senary octal decimal duodecimal hexadecimal hex vigesimal sexagesimal roman"
    " double triple quadruple one two three four five six seven eight nine eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety zero".split()
)
_FRACTION = re.compile(
    r"(?:thir|quar|four|fif|six|seven|eigh|nin|ten|eleven|twelf|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)tie|hundred|thousand|[mbtr]+illion|n)ths?|thirds?|\w*(?<!mani)fold"
)
_LARGE_SCALE = re.compile(r"(?!(?:m|b|tr)illions?\Z)[a-z]+illions?|[a-z]+illiards?|googol(?:plex)?s?|umpteen")
_SHORT_UNITS = frozenset(
    "mm cm dm km ft in yd mi kg mg lb lbs oz ml cl dl hr hrs min mins sec secs ms mph kmh kph rpm sq cu deg rad pct"
    " usd eur cents pts am pm".split()
)
_LETTER_UNITS = frozenset("m s g h l L J W V".split())
_DEGREES = frozenset("CF")
_BRACKETS = {"(": ")", "[": "]"}
_BEFORE_THE_COUNTED = frozenset("of in on at".split())
_LONG_WORD = 3  # letters: a product of so many variables after a space is rarer than "men" or "per"
# Counters, which stand after a number in Chinese, Japanese and Korean; scales (`万`) are none.
_COUNTERS = frozenset("个個種种條条名人次元円块塊只隻張张枚本組组對对位天年月日點点度秒米匹台座件把명개원번쌍점")


def unit_factor(rest: list[Token], *, is_degree: bool = False) -> int | None:
    """What the words after a number multiply it by: 1 for a unit, 1000 for "thousand"; None for no unit.

    is_degree: whether the number ended in a degree sign, so that `C` and `F` are units.
    """
    if alters(_words(rest), known=_ALTERING):
        return None
    factor = 1
    position = 0
    is_scaling = True  # until a unit has come: "5 thousand cm", but not "5 in the thousands place"
    while position < len(rest):
        token = rest[position]
        if token.kind in (Kind.WORD, Kind.TEXT):
            before = rest[position - 1].text if position else ""
            scale = _word_factor(token, divides=before == "/", is_first=position == 0, is_degree=is_degree)
            if scale is None or (scale > 1 and not is_scaling):
                return None
            is_scaling = scale > 1
            factor *= scale
            position += 1 + _unit_power(rest[position + 1 :])
        elif width := _width_without_value(rest, position):
            position += width
            is_degree |= token.text == r"\circ"
        else:
            return None
    return factor


def alters(words: Sequence[str], *, known: frozenset[str] = _ALTERING - _JOINING) -> bool:
    """Whether words after a number, in small letters, change it or take it back."""
    if any(word in known or _FRACTION.fullmatch(word) or _LARGE_SCALE.fullmatch(word) for word in words):
        return True
    return bool(words) and words[-1] in _ALTERING_LAST


def is_scale(word: str) -> bool:
    """Whether a word multiplies: "thousand"."""
    return word in _SCALES


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return re.findall(r"[^\W\d_]+", text.lower())


def _words(tokens: Sequence[Token]) -> list[str]:
    """The words outside brackets."""
    words: list[str] = []
    depth = 0
    for token in tokens:
        depth += (token.text in _BRACKETS) - (token.text in _BRACKETS.values())
        if not depth and token.kind in (Kind.WORD, Kind.TEXT):
            words += words_of(token.text)
    return words


def _width_without_value(rest: list[Token], position: int) -> int:
    """How many tokens here say nothing of the value: `%`, `^\\circ`, `_{10}`, `(by symmetry)`; 0 if they may."""
    token = rest[position]
    if token.text == "*" and position == 0 and len(rest) > 1:
        return 0  # `2\cdot\text{something}`
    if token.text == "'" and position == 0:
        return 0  # `42'`: minutes, feet, a derivative
    if token.text in ("%", r"\circ", "/", ".", "'", "*", r"\mathrm") or token.text in _COUNTERS:
        return 1
    if token.text == "_" and position == 0:
        return _base_ten(rest)
    if token.text not in _BRACKETS or (closer := _closing(rest, position)) is None:
        return 0
    inside = rest[position + 1 : closer]
    is_remark = _is_remark(inside) or unit_factor(inside) == 1
    return closer + 1 - position if is_remark else 0


def _is_remark(inside: list[Token]) -> bool:
    words = _words(inside)
    if words[:1] == ["which"] and len(words) > 2 and words[1] in ("is", "are", "was", "has"):
        words = words[2:]
    if not all(token.kind in (Kind.WORD, Kind.TEXT) or token.text in (",", "'") for token in inside):
        return False
    return not alters(words) and not any(word in _SCALES or len(word) == 1 for word in words if word not in "ai")


def _word_factor(token: Token, *, divides: bool, is_first: bool, is_degree: bool) -> int | None:
    words = words_of(token.text)
    if not words:
        return None
    if not divides and not _is_unit(token, words[0], is_first=is_first, is_degree=is_degree):
        return None
    scales = list(takewhile(_SCALES.__contains__, words))
    if any(word in _SCALES for word in words[len(scales) :]) or (scales and divides):
        return None
    return prod(_SCALES[word] for word in scales)


def _is_unit(token: Token, word: str, *, is_first: bool, is_degree: bool) -> bool:
    """Whether a word may be a unit or what is counted, and not a product of variables or a symbol."""
    if word in _SHORT_UNITS or word in _SCALES:
        return True
    if token.kind is Kind.WORD:
        return token.spaced and (len(word) >= _LONG_WORD or (word in _BEFORE_THE_COUNTED and not is_first))
    if len(word) == 1:
        letter = token.text[token.text.lower().index(word)]
        return letter in _LETTER_UNITS or (is_degree and letter in _DEGREES) or not is_first
    if len(word) < _LONG_WORD:
        return word in _BEFORE_THE_COUNTED or not is_first
    return any(letter in "aeiouy" or not letter.isascii() for letter in word)


def _unit_power(rest: list[Token]) -> int:
    """How many tokens the power of a unit takes: `^2`, `^{-1}`."""
    texts = [token.text for token in rest[:5]]
    if texts[:1] != ["^"]:
        return 0
    if texts[1:2] == ["{"] and "}" in texts:
        return texts.index("}") + 1
    return min(2, len(texts))


def _base_ten(rest: list[Token]) -> int:
    texts = [token.text for token in rest[:4]]
    return 2 if texts[:2] == ["_", "10"] else 4 if texts == ["_", "{", "10", "}"] else 0


def _closing(rest: list[Token], position: int) -> int | None:
    closer = _BRACKETS[rest[position].text]
    return next((i for i in range(position + 1, len(rest)) if rest[i].text == closer), None)
