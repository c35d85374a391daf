"""The parser of numbers in LaTeX or plain ASCII: tokens in, a bounded syntax tree out.

In: what `kit.answers.tokens` made of a text such as `2\\cdot3^{4}`, `\\binom{10}{3}`, `5!`, `\\lfloor 7/2 \\rfloor`.
Out: the longest expression that they start with; else `Rejected`.
It knows no variables and computes nothing: `kit.answers.exact` gives a tree its value.

Where writers disagree the text is refused rather than guessed: `6/2(1+2)`, `2^{3}!`, `5!!`, `\\log 8`; so is
`2{3}`, which TeX sets as 23 and which a parser takes for a product.
Where TeX and plain text disagree about digits, `2^10` and `\\sqrt12` are read as the writer means them,
`\\frac12` as TeX sets it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from kit.answers.rejection import Rejection, reject
from kit.answers.syntax_tree import Apply, Node, Number, Op
from kit.answers.tokens import FUNCTION_NAMES, Kind, Token

MAX_DEPTH = 40


def parse_prefix(tokens: Sequence[Token]) -> tuple[Node, list[Token]]:
    """Read the longest expression at the start; return it with the tokens that are left.

    Raises: Rejected if the tokens do not start with an expression, or nest too deeply.
    """
    parser = _Parser(tokens)
    node = parser.expression()
    return node, parser.rest()


_FUNCTIONS = {r"\gcd": Op.GCD, r"\lcm": Op.LCM, r"\max": Op.MAX, r"\min": Op.MIN}
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
        return reject(Rejection.NOT_A_NUMBER)

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
    return _FUNCTIONS.get(FUNCTION_NAMES.get(token.text, token.text))


def _is(node: Node, op: Op) -> bool:
    return isinstance(node, Apply) and node.op is op


def _literal(text: str) -> Fraction:
    digits = text.replace(",", "").replace(" ", "").replace("_", "")
    return Fraction(int(digits)) if digits.isdigit() else Fraction(digits)
