"""The tokens of a number's notation: cleaned text in LaTeX or plain ASCII in, numbers, commands, words and signs out.

Synonyms become one token (`\\times` and `*`), and what only changes the look becomes none (`\\left`, `\\displaystyle`).
A token says nothing of its place: `kit.answers.parser` reads the order.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from kit.answers.rejection import Rejection, reject

MAX_CHARS = 2000  # below CPython's 4300-digit limit on int(text), so that int() never raises
MAX_TOKENS = 400


class Kind(StrEnum):
    """What a token is."""

    NUMBER = "number"
    COMMAND = "command"  # \frac, \lfloor …
    TEXT = "text"  # the inside of \text{…}, where it has no digit
    WORD = "word"  # a run of letters outside \text
    SYMBOL = "symbol"


class Token(NamedTuple):  # a tuple, since it is built in a third of the time of a frozen dataclass
    """One lexical unit; `spaced` tells whether white space came before it."""

    kind: Kind
    text: str
    spaced: bool = False


TEXT_COMMANDS = (
    "text|textbf|textit|textrm|textnormal|textsf|texttt|textup|textsl|textsc|textmd|emph|mbox|hbox|mathrm|operatorname"
)
_TEXT_WITH_DIGITS = re.compile(rf"\\(?:{TEXT_COMMANDS})\s*+\{{([^{{}}\d]*+\d[^{{}}]*+)\}}", re.ASCII)
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    |(?P<number>(?:[1-9]\d{{0,2}}(?:(?:,\d{{3}})+|(?:\ \d{{3}})+|(?:_\d{{3}})+)(?!\d)|\d+)(?:\.\d+)?
        (?:[eE][+-]?\d{{1,3}}(?![A-Za-z\d]))?|\.\d+)
    |\\operatorname\*?\s*\{{\s*(?P<function>gcd|hcf|lcm|max|min|sec|deg|rad)\s*\}}
    |\\(?:{TEXT_COMMANDS})\s*\{{(?P<text>[^{{}}\d]*)\}}
    |(?P<command>\\(?:[A-Za-z]+|.))
    |(?P<word>[A-Za-z]+)
    |(?P<symbol>\*\*|<=|>=|(?<![\d)}}\]])!=|\.\.\.|.)""",  # `3!=6` is a factorial, `x != 6` a comparison
    re.VERBOSE | re.DOTALL | re.ASCII,
)
# Commands that change the look and not the value. A text command is here for `\text{\frac{84}{2}}`.
_INVISIBLE = frozenset(
    [f"\\{name}" for name in TEXT_COMMANDS.split("|")]
    + r"\left \right \mleft \mright \big \Big \bigl \bigr \Bigl \Bigr \bigg \Bigg \biggl \biggr \Biggl \Biggr"
    r" \displaystyle \textstyle \scriptstyle \scriptscriptstyle \limits \nolimits \rm \bf \it \sf \tt \sl \em"
    r" \bfseries \itshape \upshape \rmfamily \sffamily \ttfamily \normalfont \boldmath \unboldmath"
    r" \mathbf \mathit \mathsf \mathtt \mathnormal \boldsymbol \bm \pmb \mathop \mathord \ensuremath"
    r" \smash \mathbin \mathrel \mathopen \mathclose \mathinner"
    r" \underline \uline \boxed \fbox \framebox \frame \num \ang \quad \qquad \thinspace \enspace \enskip"
    r" \medspace \thickspace \negthinspace \nobreakspace \space \strut \mathstrut \relax \nonumber \notag"
    r" \pounds \euro \yen \EUR \texteuro \textdollar \textsterling \mathsterling \textyen"
    r" \tiny \scriptsize \footnotesize \small \normalsize \large \Large \LARGE \huge \Huge".split()
)
_SAME_AS = {
    r"\cdot": "*", r"\times": "*", r"\ast": "*", r"\div": "/", "**": "^", r"\%": "%",
    r"\{": "[", r"\}": "]", r"\lbrace": "[", r"\rbrace": "]", r"\lbrack": "[", r"\rbrack": "]",
    r"\lvert": "|", r"\rvert": "|", r"\vert": "|", r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac",
    r"\dbinom": r"\binom", r"\tbinom": r"\binom", r"\degree": r"\circ", r"\mod": r"\bmod",
    r"\hcf": r"\gcd", r"\ldots": r"\dots", r"\cdots": r"\dots", r"\dotsc": r"\dots", r"\dotsb": r"\dots",
    r"\dotsm": r"\dots", "...": r"\dots",
}  # fmt: skip
FUNCTION_NAMES = {"gcd": r"\gcd", "hcf": r"\gcd", "lcm": r"\lcm", "max": r"\max", "min": r"\min"}
EXPRESSION_COMMANDS = frozenset(
    {r"\frac", r"\binom", r"\sqrt", r"\log", r"\lfloor", r"\rfloor", r"\lceil", r"\rceil", r"\bmod"}
)
"""What an expression of numbers is made of; other commands are letters, signs or relations."""
BRACKETS = {"(": ")", "[": "]", "{": "}"}
DEPTH = {**dict.fromkeys(BRACKETS, 1), **dict.fromkeys(BRACKETS.values(), -1)}
"""What a bracket adds to how deep the tokens after it are nested."""
_FUNCTION_CALL = re.compile(
    r"(?<![A-Za-z])(?:gcd|hcf|lcm|max|min)\}?\s*+(?:\\(?:left|[bB]igg?l?)\s*+)?(?:\(|\\\{)[^()]*+"
)
_OPERATORS = frozenset("+-*/^_!|()[]=,:;<>")


_KINDS = {kind.value: kind for kind in Kind}


def tokenise(text: str) -> list[Token]:
    """Split a cleaned expression. Raises: Rejected if it is too long."""
    if len(text) > MAX_CHARS:
        reject(Rejection.TOO_COMPLEX)
    if "\\" in text:
        text = _TEXT_WITH_DIGITS.sub(r" \1 ", text)  # `\text{42 ways}` is no group
    if "," in text:  # `\gcd(12,180)` has two arguments and no thousands
        text = _FUNCTION_CALL.sub(lambda call: call[0].replace(",", ", "), text)
    tokens: list[Token] = []
    spaced = False
    for match in _TOKEN.finditer(text):
        name = str(match.lastgroup)
        if name == "space":
            spaced = True
            continue
        token = _token(name, match, spaced=spaced)
        if token is not None:
            tokens.append(token)
            spaced = False
    if len(tokens) > MAX_TOKENS:
        reject(Rejection.TOO_COMPLEX)
    return tokens


def _token(name: str, match: re.Match[str], *, spaced: bool) -> Token | None:
    """None for what only changes the look."""
    if name == "text":
        return _text_token(match["text"].strip(), spaced=spaced)
    if name == "function":
        return Token(Kind.COMMAND, FUNCTION_NAMES.get(match["function"], "\\" + match["function"]), spaced)
    written = match[0]
    lexeme = _SAME_AS.get(written, written)
    if lexeme in _INVISIBLE:
        return None
    kind = Kind.SYMBOL if len(lexeme) == 1 and name == "command" else _KINDS[name]
    return Token(kind, lexeme, spaced)


def _text_token(text: str, *, spaced: bool) -> Token | None:
    r"""Text is no operator: `3\text{!}` is no factorial, and in `3\text{-}5` nothing is subtracted."""
    if not text.strip(".!? ~"):
        return None
    return Token(Kind.TEXT, f" {text} " if text in _OPERATORS else text, spaced)
