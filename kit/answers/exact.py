"""Exact arithmetic under bounds: a syntax tree of `kit.answers.parser` in, a Fraction or a residue out.

Each operation is bounded (`kit.answers.arithmetic`), and every node is evaluated once.

An expression that keeps an irrational part (`\\sqrt2\\cdot\\sqrt8`) is first evaluated to 150 decimal digits
(`kit.answers.decimals`); only if that looks like an integer is it proved to be one: roots by a separation bound
(`kit.answers.algebraic`), logarithms by sympy, which gets objects built node by node from our tree, never the text.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from kit.answers.algebraic import equals
from kit.answers.arithmetic import EXACT, IrrationalError, bounded, integer, natural, num_bits, positive
from kit.answers.decimals import APPROXIMATE, CONTEXT, looks_integral, trusted
from kit.answers.rejection import Rejection, reject
from kit.answers.syntax_tree import Apply, Node, Number, Op

SURD_MAX_NODES = 60  # of a tree with an irrational part
SURD_MAX_BITS = 64  # of a rational number in it
LOG_MAX_POWER = 16  # product of the exponents along one path of a tree with an irrational logarithm
LOG_MAX_TERMS = 64  # that multiplying out its sums may give


def value(node: Node) -> Fraction:
    """The exact value of an expression that is rational.

    Raises: Rejected(NOT_AN_INTEGER) if it is irrational, unless it is proved to be an integer;
    other Rejected for what is undefined (1/0) and for what is beyond the bounds.
    """
    return _Evaluation().proved(node)


def residue(node: Node, modulus: int) -> int:
    """The value modulo `modulus`, for sums, products and powers of integers too large to write out.

    An exponent must itself be small enough for `value`. Raises: Rejected for anything else.
    """
    if isinstance(node, Number):
        return integer(node.value) % modulus
    match node.op, node.args:
        case Op.ADD, (left, right):
            return (residue(left, modulus) + residue(right, modulus)) % modulus
        case Op.SUB, (left, right):
            return (residue(left, modulus) - residue(right, modulus)) % modulus
        case Op.MUL, (left, right):
            return residue(left, modulus) * residue(right, modulus) % modulus
        case Op.NEG, (only,):
            return -residue(only, modulus) % modulus
        case Op.POW, (base, exponent):
            return pow(residue(base, modulus), natural(value(exponent)), modulus)
        case Op.MOD, (number, divisor):
            return residue(number, positive(value(divisor))) % modulus
    return integer(value(node)) % modulus


class _Evaluation:
    """The evaluation of one tree; it remembers every node's outcome, lest nested floors double the work."""

    def __init__(self) -> None:
        self._known: dict[int, Fraction | None] = {}  # by id of the node; None: irrational

    def rational(self, node: Node) -> Fraction:
        """The exact value. Raises: IrrationalError, Rejected."""
        if isinstance(node, Number):
            return bounded(node.value)
        if id(node) not in self._known:
            try:
                self._known[id(node)] = self._compute(node)
            except IrrationalError:
                self._known[id(node)] = None
        known = self._known[id(node)]
        if known is None:
            raise IrrationalError
        return known

    def _compute(self, node: Apply) -> Fraction:
        if node.op in _ROUNDING:
            return self._rounded(_ROUNDING[node.op], node.args[0])
        if node.op is Op.ROOT and not self._is_rational(node.args[1]):
            reject(Rejection.NOT_A_NUMBER)
        read = self.proved if node.op in _OF_INTEGERS else self.rational
        return bounded(EXACT[node.op](*[read(arg) for arg in node.args]))

    def _is_rational(self, node: Node) -> bool:
        try:
            self.rational(node)
        except IrrationalError:
            return False
        return True

    def proved(self, node: Node) -> Fraction:
        """The exact value, or an integer that is proved."""
        return self.rational(node) if self._is_rational(node) else self.integer(node)

    def _rounded(self, rounding: Callable[[Fraction | decimal.Decimal], int], inside: Node) -> Fraction:
        if self._is_rational(inside):
            return Fraction(rounding(self.rational(inside)))
        digits = self._digits(inside)
        return self.integer(inside) if looks_integral(digits) else Fraction(rounding(digits))

    def integer(self, node: Node) -> Fraction:
        """The value of an irrational-looking expression that is shown to be an integer."""
        if _size(node) > SURD_MAX_NODES:
            reject(Rejection.TOO_COMPLEX)
        digits = self._digits(node)
        if not looks_integral(digits):
            reject(Rejection.NOT_AN_INTEGER)
        expected = int(digits.to_integral_value())
        if self._has_logarithm(node):
            is_proved = self._is_proved_by_sympy(node, expected)
        else:
            is_proved = equals(node, expected, rational=self._rational_or_none)
        if not is_proved:
            # 60 digits agree, so what fails is the proof; even so nothing is accepted unproved.
            reject(Rejection.TOO_COMPLEX)
        return Fraction(expected)

    def _rational_or_none(self, node: Node) -> Fraction | None:
        return self.rational(node) if self._is_rational(node) else None

    def _has_logarithm(self, node: Node) -> bool:
        if not isinstance(node, Apply) or self._is_rational(node):
            return False
        return node.op is Op.LOG or any(map(self._has_logarithm, node.args))

    def _is_proved_by_sympy(self, node: Node, expected: int) -> bool:
        import sympy

        expression = self._symbolic(node, power=1)
        for simplify in (sympy.expand, sympy.expand_log):
            if expression == expected:
                return True
            expression = simplify(expression)
        return bool(expression == expected)

    def _digits(self, node: Node) -> decimal.Decimal:
        """The value to some 150 digits. Raises: Rejected where so many could not be trusted."""
        try:
            return self._approximate(node)
        except decimal.DecimalException:
            reject(Rejection.NOT_A_NUMBER)

    def _approximate(self, node: Node) -> decimal.Decimal:
        if not self._is_rational(node):
            assert isinstance(node, Apply)  # a literal is rational
            return trusted(APPROXIMATE[node.op](*[self._approximate(arg) for arg in node.args]))
        exact = self.rational(node)
        if num_bits(exact) > SURD_MAX_BITS:
            reject(Rejection.TOO_COMPLEX)
        return CONTEXT.divide(decimal.Decimal(exact.numerator), decimal.Decimal(exact.denominator))

    def _symbolic(self, node: Node, *, power: int) -> Any:
        """The sympy object; `power` is the product of the exponents above it."""
        import sympy

        if self._is_rational(node):
            exact = self.rational(node)
            return sympy.Rational(exact.numerator, exact.denominator)
        assert isinstance(node, Apply)
        if node.op is Op.POW:
            power *= self._growth(node.args[1])
        if power > LOG_MAX_POWER or _expanded_terms(node) ** power > LOG_MAX_TERMS:
            reject(Rejection.TOO_COMPLEX)
        args = [self._symbolic(arg, power=power) for arg in node.args]
        if node.op in (Op.ABS, Op.ROOT):  # of a negative number: sympy's own root would be complex
            sign = -1 if self._digits(node.args[0]) < 0 else 1
            return sign * args[0] if node.op is Op.ABS else sign * sympy.root(sign * args[0], args[1])
        return _SYMBOLIC[node.op](sympy, *args)

    def _growth(self, exponent: Node) -> int:
        return max(1, math.ceil(abs(self.rational(exponent)))) if self._is_rational(exponent) else 1


def _size(node: Node) -> int:
    return 1 if isinstance(node, Number) else 1 + sum(map(_size, node.args))


def _expanded_terms(node: Node) -> int:
    """An upper bound of the terms that multiplying out gives, exponents left aside."""
    if isinstance(node, Number):
        return 1
    sizes = [_expanded_terms(arg) for arg in node.args]
    return sum(sizes) if node.op in (Op.ADD, Op.SUB) else math.prod(sizes)


_OF_INTEGERS = frozenset({Op.FACTORIAL, Op.BINOMIAL, Op.MOD, Op.GCD, Op.LCM, Op.MAX, Op.MIN})
_ROUNDING: dict[Op, Callable[[Fraction | decimal.Decimal], int]] = {Op.FLOOR: math.floor, Op.CEIL: math.ceil}
# Called with the sympy module, so that importing this one does not import that one.
_SYMBOLIC: dict[Op, Callable[..., Any]] = {
    Op.ADD: lambda _, left, right: left + right,
    Op.SUB: lambda _, left, right: left - right,
    Op.MUL: lambda _, left, right: left * right,
    Op.DIV: lambda _, left, right: left / right,
    Op.POW: lambda _, base, exponent: base**exponent,
    Op.NEG: lambda _, only: -only,
    Op.LOG: lambda sympy, base, argument: sympy.log(argument) / sympy.log(base),
}
