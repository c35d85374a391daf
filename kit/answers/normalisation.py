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
import string
import unicodedata
from collections.abc import Iterator, Sequence

from kit.answers.exact import residue, value
from kit.answers.parser import parse_prefix
from kit.answers.rejection import Rejected, Rejection, reject
from kit.answers.syntax_tree import Node
from kit.answers.tokens import MAX_CHARS, TEXT_COMMANDS, Kind, Token, tokenise
from kit.answers.units import unit_factor, words_of
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
    if len(raw) > MAX_CHARS and len(raw := raw.strip()) > MAX_CHARS:
        reject(Rejection.TOO_COMPLEX)
    tokens = tokenise(_clean(raw))
    _trim(tokens)
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
        "…": r"\dots ", "⋯": r"\dots ", **dict.fromkeys("“”„«»「」", '"'), **dict.fromkeys("‘’", "'"),
        # Marks that only set the direction or the joining of the text around them.
        **dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u061c"),
    }
)  # fmt: skip
_SUPERSCRIPTS = re.compile("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_PLAIN_DIGIT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
# A space of any width, with or without braces of its own; those of what it stands in are not its own.
_NO_SPACE = re.compile(r"\{\\!\}|\\!\s*+|\\negthinspace(?![A-Za-z])\s*+")
_THIN_SPACE = re.compile(
    r"\{\\[,;:> ]\}|\\[,;:> ]|\\(?:thin|med|thick|no?break|en)space(?![A-Za-z])\s*+(?:\{\})?|~|&nbsp;?"
    r"|\\(?:text|mbox|hbox)\s*+\{\s*+\}"
    r"|\\(?:[hm]space\*?\s*+\{[^{}]*+\}|[mk]?(?:kern|skip)\s*+-?[\d.]++\s*+(?:em|ex|mu|pt)(?![a-z]))"
)
_DROPPED = re.compile(
    r"\\(?:text)?color\s*+(?:\[[^\]{}]*+\]\s*+)?\{[^{}]*+\}|\\colorbox\s*+\{[^{}]*+\}|\\fcolorbox\s*+(?:\{[^{}]*+\}\s*+){2}"
    r"|\\(?:[hv]?phantom|label|tag)\s*+\{[^{}]*+\}|(?<=\\num)\s*+\[[^\]]*+\]"
)
_QUANTITY = re.compile(r"\\(?:SI|qty)\s*+(?:\[[^\]]*+\])?\s*+(\{[^{}]*+\})\s*+\{[^{}]*+\}")
# What separates thousands and nothing else: `12{,}345`, `12\text{,}345`, `12'345`, two spaces.
_THOUSANDS = re.compile(
    r"(?<=\d)(?:\s*+(?:\{,\}|\\(?:text|mathord|mathpunct|mathrm)\s*+\{,\})\s*+|'|\ {2,4})(?=\d{3}(?!\d))", re.ASCII
)
_CURRENCY_BETWEEN = re.compile(r"\d\s*+(?:\\?\$)++\s*+\d", re.ASCII)
_QUOTED = re.compile(r"""\s*(?:``|''|"|'|\\")\s*(.*?)\s*(?:''|"|'|\\")[\s.]*""", re.DOTALL)
_WRAPPERS = re.compile(r"\\[\[\]()]|(?<!\*)\*\*(?![\w*(\\-])|^\s*\*\*(?=[\w(\\-])|`(?!`)|\\\$")
_LEAD = re.compile(
    r"\s*(?:(?:so|thus|therefore|hence)[, ]+)?(?:the\s+)?(?:final\s+)?answer(?:\s+is)?\s*[:=]?\s*(?:equal\s+to\s+)?"
    r"|\s*equal\s+to\s+|\s*(?:the\s+)?(?:number|integer|value)(?:\s+(?=[\d$\\-])|\Z)"
    r"|\s*(?:exactly|precisely|in\s+total|a\s+total\s+of)\s+",
    re.IGNORECASE,
)
_SAYS_AGAIN = re.compile(
    r",\s*+(?:\\text\s*+\{\s*+)?(?:(?:that|which)\s+is|i\.e\.?|namely)\b[.,:]*+\s*+\}?(?=\s*+[\d\\$-])", re.IGNORECASE
)
_OPERATORS = {"times": "*", "multiplied by": "*", "plus": "+", "minus": "-", "divided by": "/"}
_IN_WORDS = re.compile(rf"(?<=\d)\s++({'|'.join(_OPERATORS)})\s++(?=-?\d)".replace(" by", r"\ by"), re.IGNORECASE)
_IN_BASE_TEN = re.compile(r"(?<=[\d}])\s++\(?(?:in|to)\s++base[\s-]*+(?:10|ten)\)?[\s.]*+\Z", re.IGNORECASE)
_ALL_TEXT = re.compile(rf"\s*+\\(?:{TEXT_COMMANDS})\s*+\{{([^{{}}]*+)\}}\s*+")
# `~42` and `42...` are about 42; a tie on both sides is a space.
_ABOUT = re.compile(r"[\s$]*+~\s*+\d[^~]*+|.*[^.\s]\s*+\.\.+\s*+", re.DOTALL)
_TAIL = string.whitespace + ".,;:\\"
_DOUBTFUL_MARKS = frozenset("✗✘❌✖❎❓❔")


def _clean(raw: str) -> str:
    """White space, digits and punctuation in one form; the wrappers of Markdown and TeX taken off."""
    text = raw if raw.isascii() else _ascii(raw)
    if ("~" in text or ".." in text) and _ABOUT.fullmatch(text):
        reject(Rejection.NOT_A_NUMBER)
    if "$" in text:
        if _CURRENCY_BETWEEN.search(text):  # `5\$30`: neither 530 nor 5
            reject(Rejection.SEVERAL_VALUES)
        text = text.replace("$", " ") if "\\" not in text else text.replace("\\$", " ").replace("$", " ")
    if ("'" in text or '"' in text) and (quoted := _QUOTED.fullmatch(text)):
        text = quoted[1]
    if "\\" in text or "*" in text or "`" in text:
        text = _WRAPPERS.sub(" ", text.replace(r"\_", "_"))
    if "\\" in text or "~" in text or "&" in text:
        text = _QUANTITY.sub(r"\1", _DROPPED.sub(" ", _THIN_SPACE.sub(" ", _NO_SPACE.sub("", text))))
    if "," in text or "'" in text or "  " in text:
        text = _SAYS_AGAIN.sub(" = ", _THOUSANDS.sub("_", text).replace("{,}", ","))
    if "=" in text and ("s " in text or "y " in text):
        text = _operations(text)
    if "base" in text:
        text = _IN_BASE_TEN.sub("", text)
    if whole := _ALL_TEXT.fullmatch(text):
        text = whole[1]
    if lead := _LEAD.match(text):
        text = text[lead.end() :]
    return text.rstrip(_TAIL)


def _operations(text: str) -> str:
    """`6 times 7 = 42` in signs; not where operations of two kinds follow each other, for prose tells no order."""
    are_alike = len({word.lower() for word in _IN_WORDS.findall(text)}) == 1
    return _IN_WORDS.sub(lambda word: _OPERATORS[word[1].lower()], text) if are_alike else text


def _ascii(raw: str) -> str:
    text = _SUPERSCRIPTS.sub(lambda run: "^{" + run[0].translate(_PLAIN_DIGIT) + "}", raw.translate(_CHARACTERS))
    return _without_marks("".join(map(_ascii_character, text)))


def _ascii_character(character: str) -> str:
    if character.isascii():
        return character
    if character.isdecimal():  # Arabic-Indic, full-width, mathematical bold …
        return str(unicodedata.decimal(character))
    if character.isspace():
        return " "
    return "$" if unicodedata.category(character) == "Sc" else character


def _without_marks(text: str) -> str:
    """Without the ticks, boxes and emoji at either end: `42 ∎`, `✅ 42`."""
    start, end = 0, len(text)
    while start < end and _is_mark(text[start]):
        start += 1
    while start < end and _is_mark(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_mark(character: str) -> bool:
    is_sign = character == "∎" or unicodedata.category(character) in ("So", "Mn", "Sk")
    return character.isspace() or (not character.isascii() and is_sign and character not in _DOUBTFUL_MARKS)


_CHOICE = re.compile(r"\(?[A-E]\)|[A-E][.:]")


_END_MARKS = frozenset({r"\checkmark", r"\blacksquare", r"\qed", r"\qedhere", r"\qedsymbol", r"\bigstar"})
_END_BOXES = frozenset({r"\square", r"\Box"})  # after a space; without one they may be what a number multiplies


def _trim(tokens: list[Token]) -> None:
    """Take off what only announces a number, and the signs that only end it."""
    del tokens[: _label_width(tokens)]
    while tokens and (tokens[-1].text in _END_MARKS or (tokens[-1].text in _END_BOXES and tokens[-1].spaced)):
        tokens.pop()


def _label_width(tokens: list[Token]) -> int:
    """How many tokens before a number only announce it: `\\text{Answer: }42`, `\\textbf{(C) }42`, `C. 42`."""
    if len(tokens) > 1 and tokens[0].kind is Kind.TEXT and _LEAD.fullmatch(tokens[0].text):
        return 2 if tokens[1].text == ":" else 1
    if tokens and tokens[0].text[:1] not in "(ABCDE":  # which is asked of most answers
        return 0
    for width in range(1, min(4, len(tokens))):
        if _CHOICE.fullmatch("".join(token.text for token in tokens[:width])):
            follows = tokens[width]
            return width if follows.kind is Kind.NUMBER or follows.text in _READABLE else 0
    return 0


# ---------------------------------------------------------------------------------------- statements

_EQUALS = frozenset({"=", r"\equiv"})
_APPROXIMATES = frozenset({r"\approx", r"\simeq", r"\sim", r"\doteq"})
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_DEPTH = {**dict.fromkeys(_PAIRS, 1), **dict.fromkeys(_PAIRS.values(), -1)}
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
    names = [len(sides) > 1 and _is_name(side) for side in sides]
    for index, side in enumerate(sides):
        if index and relations[index - 1] in _APPROXIMATES:
            continue  # an approximation never decides
        if index < len(relations) and relations[index] == r"\equiv":
            continue  # `121818 \equiv 21818 \pmod{100000}` states its right side
        if names[index] or (index < len(relations) and _is_left_open(side)):
            continue
        is_between = 0 < index < len(relations) and names[0] and bool(sides[0])
        if is_between and _is_formula(side):
            continue  # `S = n(n+1)/2 = 55` names 55 S, whatever n is
        yield _side_value(side, modulus)


def _sides(tokens: list[Token]) -> tuple[list[list[Token]], list[str]]:
    """Split at the relations outside brackets, and at the verb "is" after a name ("the largest n is 34")."""
    sides: list[list[Token]] = [[]]
    relations: list[str] = []
    depth = 0
    for token in tokens:
        depth += _DEPTH.get(token.text, 0)
        if token.text in _RELATIONS:
            reject(Rejection.NOT_A_NUMBER)
        verb = _VERB.fullmatch(token.text) if token.kind in (Kind.WORD, Kind.TEXT) else None
        if depth > 0 or not (verb or token.text in _EQUALS or token.text in _APPROXIMATES):
            sides[-1].append(token)
            continue
        if verb and verb[1]:
            sides[-1].append(Token(token.kind, verb[1], token.spaced))
        if verb and not _is_name(sides[-1]):
            if _NAMES_ANSWER.fullmatch(" ".join(follows.text for follows in tokens[tokens.index(token) + 1 :])):
                break
            reject(Rejection.NOT_A_NUMBER)  # "68 is less than the sum"
        relations.append("is" if verb else token.text)
        sides.append([])
    return sides, relations


_VERB = re.compile(r"(.*?)\s*\b(?:is|are|equals)\s*[:=]?|(.+?)\s*[:=]", re.IGNORECASE | re.DOTALL)
_NAMES_ANSWER = re.compile(r"(?:the|our|my)? ?(?:(?:final|correct|required|desired) )?(?:answer|result|value)", re.I)
_CHANGES_A_NAME = frozenset(
    "half twice thrice double doubled triple tripled halved negative not no never false".split()
)
_BIG_OPERATORS = frozenset({r"\sum", r"\prod", r"\int", r"\lim", r"\iint", r"\oint"})


def _is_left_open(side: list[Token]) -> bool:
    """Whether a side has an ellipsis: `1+2+\\dots+10`, but not the list `1, 2, \\dots`."""
    texts = {token.text for token in side}
    return r"\dots" in texts and "," not in texts


def _is_formula(side: list[Token]) -> bool:
    """Whether a side has letters, so that it has no value of its own."""
    words = [token for token in side if token.kind in _VERBAL and _is_no_product(token.text)]
    return any(map(_is_letter, side)) and not words and not any(token.text in (",", ";", ":") for token in side)


def _is_no_product(letters: str) -> bool:
    """Whether letters are a word and no product of unknowns."""
    return len(letters) > 2 or letters in ("or", "if", "is", "in", "to", "by", "of")


def _is_name(side: list[Token]) -> bool:
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


_VERBAL = (Kind.WORD, Kind.TEXT)
_UNKNOWNS = frozenset("ijklmnxyzt")  # which a bracket multiplies; other letters before a bracket are functions
_WEIGHTED_SUM = re.compile(r"-?(?:\d+\*?)?[A-Za-z]+(?:[+-](?:\d+\*?)?[A-Za-z]+)+", re.ASCII)


def _is_tuple(side: list[Token]) -> bool:
    """Whether a side names several: `x, y`, `(m,n)`."""
    parts = re.split(",", "".join(token.text for token in side).strip("()[]"))
    return len(parts) > 1 and all(len(part) <= 1 for part in parts)


_FUNCTIONS_OF_ONE = frozenset({r"\sqrt", r"\log", r"\ln", r"\lg", r"\exp", "sqrt", "log", "ln", "exp"})


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
        depth += _DEPTH.get(side[place].text, 0)
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
            is_function = _is_letter(previous) and previous.text not in _UNKNOWNS
            is_applied = token.text != "{" and (is_function or closed_inside or previous.text == "'")
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
