"""The notation of numbers: an expression in LaTeX or plain ASCII in, a bounded syntax tree out.

In: cleaned text such as `2\\cdot3^{4}`, `\\binom{10}{3}`, `5!`, `\\lfloor 7/2 \\rfloor`, `\\sqrt{144}`.
Out: tokens (tokenise), and the longest expression they start with (parse_prefix); else `Rejected`.
It knows no variables and computes nothing: `kit.answers.exact` gives a tree its value.

Where writers disagree the text is refused rather than guessed: `6/2(1+2)`, `2^{3}!`, `5!!`, `\\log 8`; so is
`2{3}`, which TeX sets as 23 and which a parser takes for a product.
Where TeX and plain text disagree about digits, `2^10` and `\\sqrt12` are read as the writer means them,
`\\frac12` as TeX sets it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple, NoReturn

MAX_CHARS = 2000  # below CPython's 4300-digit limit on int(text), so that int() never raises
MAX_TOKENS = 400
MAX_DEPTH = 40


class Rejection(StrEnum):
    """Why a text is no answer."""

    EMPTY = "empty"
    NOT_A_NUMBER = "not a number"  # words, variables, broken or ambiguous notation
    SEVERAL_VALUES = "several values"  # a list, a tuple, `1,22`, sides of `=` that differ
    NOT_AN_INTEGER = "not an integer"
    OUT_OF_RANGE = "out of range"
    TOO_COMPLEX = "too complex"  # beyond the bounds here and in kit.answers.exact


class Rejected(Exception):  # noqa: N818  a verdict on a text, told to the caller as a value
    """Carries a Rejection out of a recursion; `kit.answers.normalisation` returns it as a value."""

    def __init__(self, reason: Rejection) -> None:
        super().__init__(reason.value)
        self.reason = reason


def reject(reason: Rejection) -> NoReturn:
    """Raise Rejected."""
    raise Rejected(reason)


class Op(StrEnum):
    """What an inner node does with its arguments."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"
    POW = "^"
    NEG = "neg"
    FACTORIAL = "!"
    BINOMIAL = "binomial"
    ROOT = "root"  # (radicand, degree)
    LOG = "log"  # (base, argument)
    FLOOR = "floor"
    CEIL = "ceil"
    ABS = "abs"
    MOD = "mod"
    GCD = "gcd"
    LCM = "lcm"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on sub-expressions."""

    op: Op
    args: tuple[Node, ...]


Node = Number | Apply


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
_FUNCTIONS = {r"\gcd": Op.GCD, r"\lcm": Op.LCM, r"\max": Op.MAX, r"\min": Op.MIN}
_FUNCTION_NAMES = {"gcd": r"\gcd", "hcf": r"\gcd", "lcm": r"\lcm", "max": r"\max", "min": r"\min"}
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
        return Token(Kind.COMMAND, _FUNCTION_NAMES.get(match["function"], "\\" + match["function"]), spaced)
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


def parse_prefix(tokens: Sequence[Token]) -> tuple[Node, list[Token]]:
    """Read the longest expression at the start; return it with the tokens that are left.

    Raises: Rejected if the tokens do not start with an expression, or nest too deeply.
    """
    parser = _Parser(tokens)
    node = parser.expression()
    return node, parser.rest()


_CLOSER = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil", "|": "|"}
_GROUP_OP = {r"\lfloor": Op.FLOOR, r"\lceil": Op.CEIL, "|": Op.ABS}
_INFIX = {r"\choose": Op.BINOMIAL, r"\over": Op.DIV}  # of a whole group: `{10 \choose 3}`
# What multiplies the factor that it directly follows; `|` is left out since it may also close.
_MULTIPLIES = frozenset({"(", "[", "{", r"\lfloor", r"\lceil", r"\sqrt", r"\log", r"\frac", r"\binom", *_FUNCTIONS})


class _Parser:
    """Recursive descent: modulo > sum > product > signed > adjacent > power > postfix > atom."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._ahead = list(reversed(tokens))  # a stack: the next token is the last
        self._depth = 0
        self._brackets = 0  # that are open and separate their members by commas

    def rest(self) -> list[Token]:
        return self._ahead[::-1]

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            reject(Rejection.TOO_COMPLEX)
        node = self._sum()
        if self._peek() in (r"\bmod", "mod", "modulo"):
            self._ahead.pop()
            node = Apply(Op.MOD, (node, self._sum()))
        elif self._peek() == r"\pmod":
            self._ahead.pop()
            node = Apply(Op.MOD, (node, self._argument()))
        elif width := self._parenthesised_mod():
            del self._ahead[-width:]
            node = Apply(Op.MOD, (node, self._sum()))
            self._expect(")")
        self._depth -= 1
        return node

    def _parenthesised_mod(self) -> int:
        """How many tokens the start of `(mod 7)` takes; 0 if none is ahead. A TEXT may hold both."""
        if self._peek() in ("(mod", "(modulo"):
            return 1
        follows = self._ahead[-2].text if len(self._ahead) > 1 else ""
        return 2 if self._peek() == "(" and follows in ("mod", r"\bmod", "modulo") else 0

    def _sum(self) -> Node:
        node = self._product()
        while (sign := self._peek()) in ("+", "-"):
            self._ahead.pop()
            node = Apply(Op(sign), (node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._signed()
        while (sign := self._peek()) in ("*", "/"):
            if len(self._ahead) > 1 and self._ahead[-2].kind in (Kind.WORD, Kind.TEXT):
                break  # a unit: `60 km/h`
            self._ahead.pop()
            if sign == "*":
                node = Apply(Op.MUL, (node, self._signed()))
                continue
            node = Apply(Op.DIV, (node, self._with_sign(self._power)))
            if self._is_factor_ahead() or self._is_factorial_ahead():  # 6/2(1+2): one or nine
                reject(Rejection.NOT_A_NUMBER)
        return node

    def _signed(self) -> Node:
        return self._with_sign(self._adjacent)

    def _with_sign(self, operand: Callable[[], Node]) -> Node:
        negative = False
        while (sign := self._peek()) in ("+", "-"):
            self._ahead.pop()
            negative ^= sign == "-"
        node = operand()
        return Apply(Op.NEG, (node,)) if negative else node

    def _adjacent(self) -> Node:
        """Juxtaposition multiplies, save for a mixed number such as `2\\frac{1}{2}`."""
        node = beside = self._power()
        while self._is_factor_ahead() or (_is(beside, Op.FACTORIAL) and self._is_factorial_ahead()):
            is_literal_group = self._peek() == "{" and self._kind_at(2) is Kind.NUMBER
            beside = self._power()
            if is_literal_group and not _is(beside, Op.BINOMIAL):  # `2{3}` looks like 23
                reject(Rejection.NOT_A_NUMBER)
            match node, beside:
                case Number(), Apply(Op.DIV, (Number(over), Number(under))) if 0 <= over < under:
                    node = Apply(Op.ADD, (node, beside))
                case _:
                    node = Apply(Op.MUL, (node, beside))
        return node

    def _is_factor_ahead(self) -> bool:
        is_remark = (
            self._peek() in ("(", "[") and self._kind_at(2) in (Kind.WORD, Kind.TEXT) and not self._is_call_at(2)
        )
        return self._peek() in _MULTIPLIES and not self._parenthesised_mod() and not is_remark

    def _is_factorial_ahead(self) -> bool:
        """Whether `2!` follows; after another factorial it multiplies, as in `8!2!`."""
        return self._kind_at(1) is Kind.NUMBER and len(self._ahead) > 1 and self._ahead[-2].text == "!"

    def _kind_at(self, place: int) -> Kind | None:
        """The kind of the next token (1), of the one after it (2) …"""
        return self._ahead[-place].kind if len(self._ahead) >= place else None

    def _is_call_at(self, place: int) -> bool:
        return _function(self._ahead[-place]) is not None

    def _power(self) -> Node:
        base = self._postfix()
        if self._peek() != "^":
            return base
        self._ahead.pop()
        if self._skips_degree_sign():
            return base
        return Apply(Op.POW, (base, self._with_sign(self._tower)))

    def _tower(self) -> Node:
        self._depth += 1  # `2^2^2^…` descends without a bracket
        if self._depth > MAX_DEPTH:
            reject(Rejection.TOO_COMPLEX)
        node = self._atom()
        if self._peek() == "!":  # `2^{3}!` is 8! to some and 2^6 to others
            reject(Rejection.NOT_A_NUMBER)
        if self._peek() == "^":
            self._ahead.pop()
            node = Apply(Op.POW, (node, self._with_sign(self._tower)))
        self._depth -= 1
        return node

    def _skips_degree_sign(self) -> bool:
        for sign in ((r"\circ",), ("{", r"\circ", "}")):
            if tuple(token.text for token in self._ahead[: -len(sign) - 1 : -1]) == sign:
                del self._ahead[-len(sign) :]
                return True
        return False

    def _postfix(self) -> Node:
        node = self._atom()
        if self._peek() != "!":
            return node
        self._ahead.pop()
        if self._peek() == "!":  # a double factorial is another function than two factorials
            reject(Rejection.NOT_A_NUMBER)
        return Apply(Op.FACTORIAL, (node,))

    def _atom(self) -> Node:
        token = self._ahead.pop() if self._ahead else Token(Kind.SYMBOL, "")
        if token.kind is Kind.NUMBER:
            if self._brackets and "," in token.text:  # `(3,125)` is a pair, `[1,100]` an interval
                reject(Rejection.SEVERAL_VALUES)
            return Number(_literal(token.text))
        if self._peek() in ("(", "[") and (function := _function(token)):
            return self._call(function)
        match token.text:
            case "(" | "[" | "{" | "|" | r"\lfloor" | r"\lceil":
                return self._group(token.text)
            case r"\frac":
                return Apply(Op.DIV, (self._argument(), self._argument()))
            case r"\binom":
                return Apply(Op.BINOMIAL, (self._argument(), self._argument()))
            case r"\sqrt":
                return self._root()
            case r"\log":
                return self._logarithm()
        reject(Rejection.NOT_A_NUMBER)

    def _call(self, function: Op) -> Node:
        r"""A function of several numbers or of a set: `\gcd(12, 18)`, `\max\{3, 5\}`."""
        opener = self._ahead.pop().text
        args = [self.expression()]
        while self._peek() == ",":
            self._ahead.pop()
            args.append(self.expression())
        self._expect(_CLOSER[opener])
        return Apply(function, tuple(args))

    def _group(self, opener: str) -> Node:
        self._brackets += opener in ("(", "[")
        node = self.expression()
        self._brackets -= opener in ("(", "[")
        if opener == "{" and (infix := _INFIX.get(self._peek())):
            self._ahead.pop()
            node = Apply(infix, (node, self.expression()))
        if self._peek() == ",":
            reject(Rejection.SEVERAL_VALUES)
        self._expect(_CLOSER[opener])
        op = _GROUP_OP.get(opener)
        return Apply(op, (node,)) if op else node

    def _argument(self) -> Node:
        """A braced group, or as in TeX one digit: `\\frac12` is a half."""
        if not self._ahead or self._ahead[-1].kind is not Kind.NUMBER:
            self._expect("{")
            return self._group("{")
        digits = self._ahead.pop().text
        remainder = digits[1:].removeprefix(" ")  # `\log_2 256` has the look of a thousands group
        if not digits[0].isdigit() or (remainder and not remainder[0].isdigit()):  # `.5`, `1.5`, `1e9`, `1,000`
            reject(Rejection.NOT_A_NUMBER)
        if remainder:
            self._ahead.append(Token(Kind.NUMBER, remainder))
        return Number(Fraction(int(digits[0])))

    def _root(self) -> Node:
        degree: Node = Number(Fraction(2))
        if self._peek() == "[":
            self._ahead.pop()
            degree = self.expression()
            self._expect("]")
        return Apply(Op.ROOT, (self._atom(), degree))

    def _logarithm(self) -> Node:
        self._expect("_")  # without a base it may be the natural or the decimal one
        base = self._argument()
        return Apply(Op.LOG, (base, self._power()))

    def _expect(self, symbol: str) -> None:
        if self._peek() != symbol:
            reject(Rejection.NOT_A_NUMBER)
        self._ahead.pop()

    def _peek(self) -> str:
        return self._ahead[-1].text if self._ahead else ""


def _function(token: Token) -> Op | None:
    return _FUNCTIONS.get(_FUNCTION_NAMES.get(token.text, token.text))


def _is(node: Node, op: Op) -> bool:
    return isinstance(node, Apply) and node.op is op


def _literal(text: str) -> Fraction:
    digits = text.replace(",", "").replace(" ", "").replace("_", "")
    return Fraction(int(digits)) if digits.isdigit() else Fraction(digits)
