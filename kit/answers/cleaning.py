"""What surrounds a number taken off: a raw answer in, the tokens of what it states out.

White space, digits and punctuation of every script get one form; Markdown, colours, boxes and what only announces a
number or ends it (`The answer is`, `(C)`, a tick) are dropped. Nothing is evaluated.
"""

from __future__ import annotations

import re
import string
import unicodedata

from kit.answers.rejection import Rejection, reject
from kit.answers.tokens import EXPRESSION_COMMANDS, MAX_CHARS, TEXT_COMMANDS, Kind, Token, tokenise

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
_CHOICE = re.compile(r"\(?[A-E]\)|[A-E][.:]")
_END_MARKS = frozenset({r"\checkmark", r"\blacksquare", r"\qed", r"\qedhere", r"\qedsymbol", r"\bigstar"})
_END_BOXES = frozenset({r"\square", r"\Box"})  # after a space; without one they may be what a number multiplies


def cleaned_tokens(raw: str) -> list[Token]:
    """The tokens of an answer without what surrounds it; none if nothing is left.

    Raises: Rejected for what is too long, and for marks that say that a number is no answer (`~42`, `5\\$30`).
    """
    if len(raw) > MAX_CHARS and len(raw := raw.strip()) > MAX_CHARS:
        reject(Rejection.TOO_COMPLEX)
    tokens = tokenise(_cleaned(raw))
    _trim(tokens)
    return tokens


def _cleaned(raw: str) -> str:
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
            return width if follows.kind is Kind.NUMBER or follows.text in EXPRESSION_COMMANDS else 0
    return 0
