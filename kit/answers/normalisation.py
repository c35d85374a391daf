"""A raw answer in, the integer 0-99999 that it states out, or the reason why it states none.

In: what `kit.answers.extraction` took from a completion: LaTeX, Markdown, words and units around one number.
Out: an int, reduced by the problem's own modulus if it states one (kit.answers.modulus), or a Rejection.
It never guesses: of two numbers it takes neither, 42.5 is not 42, `1,22` is not 122, `2x = 14` is not 14.

Readings that others might choose otherwise: `50\\%` and `336^\\circ` are 50 and 336 (competitions ask "what
percent"); `x \\approx 11` states nothing; `220_{10}` is 220 and `220_3` is refused, since the problem may
want its digits or its value; a mixed number is a sum; `\\{7\\}` is 7; "5 thousand" is 5000; `(C) 42`, a choice
by its letter and its value, is 42.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator
from itertools import takewhile
from math import prod

from kit.answers.exact import residue, value
from kit.answers.notation import MAX_CHARS, Kind, Node, Rejected, Rejection, Token, parse_prefix, reject, tokenise
from kit.errors import InputError
from kit.problem import ANSWER_MAX

__all__ = ["Rejection", "integer", "normalise"]


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
    if len(raw) > MAX_CHARS and len(raw := raw.strip()) > MAX_CHARS:
        reject(Rejection.TOO_COMPLEX)
    tokens = tokenise(_clean(raw))
    del tokens[: _label_width(tokens)]
    if not tokens:
        reject(Rejection.EMPTY)
    return _agreed(list(_statements(tokens, modulus)))


# ------------------------------------------------------------------------------------------ cleaning

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("−–‐‑﹣－", "-"), **dict.fromkeys("×⋅·∙✕", "*"), "÷": "/", "⁄": "/", "∕": "/",
        "，": ",", "٬": ",", "٫": ".", "．": ".", "。": ".", "：": ":", "＝": "=", "（": "(", "）": ")", "％": "%",
        "°": r"\circ ", "√": r"\sqrt ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
        "≈": r"\approx ", "≡": r"\equiv ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ",
        **dict.fromkeys("€£¥₹$", None),
        # Marks that only set the direction or the joining of the text around them.
        **dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u061c"),
    }
)  # fmt: skip
_SUPERSCRIPTS = re.compile("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_PLAIN_DIGIT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_NO_SPACE = re.compile(r"\\!\s*|\{\\!\}")
_THIN_SPACE = re.compile(r"\{?\\[,;: ]\}?|\\thinspace(?![A-Za-z])\s*+|~|&nbsp;?")
_COLOUR = re.compile(r"\\(?:text)?color\s*+(?:\[[^\]{}]*+\]\s*+)?\{[^{}]*+\}")
_WRAPPERS = re.compile(r"\\[\[\]()]|(?<!\*)\*\*(?![\w*(\\-])|^\s*\*\*(?=[\w(\\-])|`|\\\$")
_LEAD = re.compile(r"\s*(?:(?:so|thus|therefore|hence)[, ]+)?(?:the\s+)?(?:final\s+)?answer(?:\s+is)?\s*[:=]?\s*", re.I)
_TAIL = string.whitespace + ".,;:\\"


def _clean(raw: str) -> str:
    """White space, digits and punctuation in one form; the wrappers of Markdown and TeX taken off."""
    text = raw if raw.isascii() else _ascii(raw)
    text = _WRAPPERS.sub(" ", text.replace("{,}", ",").replace(r"\_", "_").replace("$", " "))
    text = _COLOUR.sub(" ", _THIN_SPACE.sub(" ", _NO_SPACE.sub("", text)))
    if lead := _LEAD.match(text):
        text = text[lead.end() :]
    return text.rstrip(_TAIL)


def _ascii(raw: str) -> str:
    text = _SUPERSCRIPTS.sub(lambda run: "^{" + run[0].translate(_PLAIN_DIGIT) + "}", raw.translate(_CHARACTERS))
    return "".join(map(_ascii_character, text))


def _ascii_character(character: str) -> str:
    if character.isascii():
        return character
    if character.isdecimal():  # Arabic-Indic, full-width, mathematical bold …
        return str(unicodedata.decimal(character))
    return " " if character.isspace() else character


_CHOICE = re.compile(r"\(?[A-E]\)|[A-E][.:]")


def _label_width(tokens: list[Token]) -> int:
    """How many tokens before a number only announce it: `\\text{Answer: }42`, `\\textbf{(C) }42`, `C. 42`."""
    if len(tokens) > 1 and tokens[0].kind is Kind.TEXT and _LEAD.fullmatch(tokens[0].text):
        return 1
    for width in range(1, min(4, len(tokens))):
        if _CHOICE.fullmatch("".join(token.text for token in tokens[:width])):
            follows = tokens[width]
            return width if follows.kind is Kind.NUMBER or follows.text in _READABLE else 0
    return 0


# ---------------------------------------------------------------------------------------- statements

_EQUALS = frozenset({"=", r"\equiv"})
_APPROXIMATES = frozenset({r"\approx", r"\simeq", r"\sim", r"\doteq"})
_PAIRS = {"(": ")", "[": "]", "{": "}"}
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
    for index, side in enumerate(sides):
        if index and relations[index - 1] in _APPROXIMATES:
            continue  # an approximation never decides
        if index < len(relations) and relations[index] == r"\equiv":
            continue  # `121818 \equiv 21818 \pmod{100000}` states its right side
        if len(sides) > 1 and _is_name(side):
            continue
        yield _side_value(side, modulus)


def _sides(tokens: list[Token]) -> tuple[list[list[Token]], list[str]]:
    """Split at the relations outside brackets."""
    sides: list[list[Token]] = [[]]
    relations: list[str] = []
    depth = 0
    for token in tokens:
        depth += (token.text in _PAIRS) - (token.text in _PAIRS.values())
        if token.text in _RELATIONS:
            reject(Rejection.NOT_A_NUMBER)
        is_verb = token.kind is Kind.WORD and token.text == "is"  # "the largest n is 34"
        if depth <= 0 and (is_verb or token.text in _EQUALS or token.text in _APPROXIMATES):
            relations.append(token.text)
            sides.append([])
        else:
            sides[-1].append(token)
    return sides, relations


def _is_name(side: list[Token]) -> bool:
    """Whether a side names a quantity: letters, with numbers only as powers, indices, arguments or moduli.

    `2x`, `x+1`, `\\frac{x}{2}`, `-x` and `x!` are no names, since `2x = 14` does not state 14. Nothing, as in
    `= 7`, is one.
    """
    modulo = next((place for place, token in enumerate(side) if token.text in _MODULO_WORDS), None)
    if modulo:  # `N \\bmod 10^5`
        side = side[:modulo]
    if not side:
        return True
    return any(map(_is_letter, side)) and not any(map(_alters, *_with_context(side)))


def _is_letter(token: Token) -> bool:
    return token.kind in (Kind.WORD, Kind.TEXT) or (token.kind is Kind.COMMAND and token.text not in _READABLE)


def _with_context(side: list[Token]) -> tuple[list[Token], list[Token], list[bool]]:
    """The tokens, what stands before each, and whether each is inside a power, an index or an argument."""
    before = [Token(Kind.SYMBOL, ""), *side[:-1]]
    inside: list[bool] = []
    groups = [False]
    was_inside = False  # whether the token before ended an index or argument: `P_2(10)`, `f^{-1}(2)`
    for token, previous in zip(side, before, strict=True):
        closed_inside, was_inside = was_inside, token.kind is Kind.NUMBER and previous.text == "_"
        if token.text in _PAIRS:
            is_index = previous.text in ("^", "_")
            is_command = previous.kind is Kind.COMMAND and _is_letter(previous)  # `\mathcal{F}`
            is_applied = token.text != "{" and (_is_letter(previous) or closed_inside or previous.text == "'")
            groups.append(groups[-1] or is_index or is_command or is_applied)
        elif token.text in _PAIRS.values() and len(groups) > 1:
            was_inside = groups.pop()
        inside.append(groups[-1])
    return side, before, inside


def _alters(token: Token, previous: Token, is_inside: bool) -> bool:
    """Whether a token makes another quantity of the one that the letters name."""
    if is_inside:
        return False
    if token.kind is Kind.NUMBER:
        return previous.text not in ("^", "_")
    return token.text == "!" or (token.text in _SIGNS and (not previous.text or previous.text in (*_PAIRS, "|")))


_SIGNS = frozenset({"+", "-", r"\pm", r"\mp"})
_MODULO_WORDS = frozenset({r"\bmod", r"\pmod", "mod", "modulo", "(mod", "(modulo"})
_READABLE = frozenset({r"\frac", r"\binom", r"\sqrt", r"\log", r"\lfloor", r"\rfloor", r"\lceil", r"\rceil", r"\bmod"})


def _side_value(side: list[Token], modulus: int | None) -> int:
    node, rest = parse_prefix(side)
    factor = _unit_factor(rest)
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


# --------------------------------------------------------------------------------------------- units

_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALES |= {f"{word}s": scale for word, scale in _SCALES.items()}
# Words after a number that make it another number, or one of several, or a condition.
_ALTERING = frozenset(
    "and or to if when where mod modulo base plus minus times over by less fewer more than not except least most"
    " dozen dozens ten tens score scores lakh lakhs crore crores k negative"
    " half halves third thirds quarter quarters fifth fifths sixth sixths seventh sevenths eighth eighths ninth ninths"
    " tenth tenths hundredth hundredths thousandth thousandths millionth millionths"
    " squared cubed factorial choose points remainder for but between through until either plusminus pi sqrt".split()
)
_SHORT_UNITS = frozenset(
    "mm cm dm km ft in yd mi kg mg lb lbs oz ml cl dl hr hrs min mins sec secs ms mph kmh kph sq cu deg rad pct"
    " usd eur cents pts am pm".split()
)
_LONG_WORD = 3  # letters: a product of so many variables after a space is rarer than "men" or "per"


def _unit_factor(rest: list[Token]) -> int | None:
    """What the words after a number multiply it by: 1 for a unit, 1000 for "thousand"; None for no unit."""
    factor = 1
    position = 0
    is_scaling = True  # until a unit has come: "5 thousand cm", but not "5 in the thousands place"
    while position < len(rest):
        token = rest[position]
        if token.kind in (Kind.WORD, Kind.TEXT):
            divides = position > 0 and rest[position - 1].text == "/"  # `km/h`
            scale = _word_factor(token, divides=divides)
            if scale is None or (scale > 1 and not is_scaling):
                return None
            is_scaling = scale > 1
            factor *= scale
            position += 1 + _unit_power(rest[position + 1 :])
        elif token.text in ("%", r"\circ", "/", ".", "'", "*", r"\mathrm") or (token.text, position) == ("_", 0):
            width = _base_ten(rest[position:]) if token.text == "_" else 1
            if not width:
                return None
            position += width
        elif token.text == "(" and (closer := _closing(rest, position)):
            if _unit_factor(rest[position + 1 : closer]) != 1:
                return None
            position = closer + 1
        else:
            return None
    return factor


def _word_factor(token: Token, *, divides: bool) -> int | None:
    words = re.findall(r"[^\W\d_]+", token.text.lower())
    if token.kind is Kind.WORD and not divides:
        word = words[0]
        if word not in _SHORT_UNITS and word not in _SCALES and not (token.spaced and len(word) >= _LONG_WORD):
            return None
    if any(word in _ALTERING for word in words):
        return None
    scales = list(takewhile(_SCALES.__contains__, words))
    if any(word in _SCALES for word in words[len(scales) :]) or (scales and divides):
        return None
    return prod(_SCALES[word] for word in scales)


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
    return next((i for i in range(position + 1, len(rest)) if rest[i].text == ")"), None)
