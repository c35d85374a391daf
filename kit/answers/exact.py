"""Exact arithmetic under bounds: a syntax tree of `kit.answers.parser` in, a Fraction or a residue out.

Work is bounded by construction rather than by a clock: the bits of every intermediate number are limited
before each operation, so that `10^{10^{10}}` is refused in microseconds. No large integer becomes text.

An expression that keeps an irrational part (`\\sqrt2\\cdot\\sqrt8`) is first evaluated to 150 decimal digits; only
if that looks like an integer is it proved to be one: roots by a separation bound (`kit.answers.algebraic`), logarithms
by sympy, which gets objects built node by node from our tree, never the text.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from kit.answers.algebraic import equals, floor_root
from kit.answers.rejection import Rejection, reject
from kit.answers.syntax_tree import Apply, Node, Number, Op

MAX_BITS = 1 << 14  # of any numerator or denominator: 4,932 decimal digits
MAX_FACTORIAL = 1500  # 1500! has 13,669 bits

SURD_MAX_NODES = 60  # of a tree with an irrational part
SURD_MAX_BITS = 64  # of a rational number in it
LOG_MAX_POWER = 16  # product of the exponents along one path of a tree with an irrational logarithm
LOG_MAX_TERMS = 64  # that multiplying out its sums may give
LOG_MAX_DENOMINATOR = 64  # of a logarithm that is rational
SURD_DIGITS = 150
SURD_MAX_MAGNITUDE = decimal.Decimal(10) ** 40  # of a number in it; of a divisor, the inverse
INTEGER_TOLERANCE = decimal.Decimal(10) ** -60


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
        return _integer(node.value) % modulus
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
            return pow(residue(base, modulus), _natural(value(exponent)), modulus)
        case Op.MOD, (number, divisor):
            return residue(number, _positive(value(divisor))) % modulus
    return _integer(value(node)) % modulus


class _IrrationalError(Exception):
    """The value is real but not rational: fall back on digits and sympy."""


class _Evaluation:
    """The evaluation of one tree; it remembers every node's outcome, lest nested floors double the work."""

    def __init__(self) -> None:
        self._known: dict[int, Fraction | None] = {}  # by id of the node; None: irrational

    def rational(self, node: Node) -> Fraction:
        """The exact value. Raises: _IrrationalError, Rejected."""
        if isinstance(node, Number):
            return _bounded(node.value)
        if id(node) not in self._known:
            try:
                self._known[id(node)] = self._compute(node)
            except _IrrationalError:
                self._known[id(node)] = None
        known = self._known[id(node)]
        if known is None:
            raise _IrrationalError
        return known

    def _compute(self, node: Apply) -> Fraction:
        if node.op in _ROUNDING:
            return self._rounded(_ROUNDING[node.op], node.args[0])
        if node.op is Op.ROOT and not self._is_rational(node.args[1]):
            reject(Rejection.NOT_A_NUMBER)
        read = self.proved if node.op in _OF_INTEGERS else self.rational
        return _bounded(_EXACT[node.op](*[read(arg) for arg in node.args]))

    def _is_rational(self, node: Node) -> bool:
        try:
            self.rational(node)
        except _IrrationalError:
            return False
        return True

    def proved(self, node: Node) -> Fraction:
        """The exact value, or an integer that is proved."""
        return self.rational(node) if self._is_rational(node) else self.integer(node)

    def _rounded(self, rounding: Callable[[Fraction | decimal.Decimal], int], inside: Node) -> Fraction:
        if self._is_rational(inside):
            return Fraction(rounding(self.rational(inside)))
        digits = self._digits(inside)
        return self.integer(inside) if _looks_integral(digits) else Fraction(rounding(digits))

    def integer(self, node: Node) -> Fraction:
        """The value of an irrational-looking expression that is shown to be an integer."""
        if _size(node) > SURD_MAX_NODES:
            reject(Rejection.TOO_COMPLEX)
        digits = self._digits(node)
        if not _looks_integral(digits):
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
            return _trusted(_APPROXIMATE[node.op](*[self._approximate(arg) for arg in node.args]))
        exact = self.rational(node)
        if _bits(exact) > SURD_MAX_BITS:
            reject(Rejection.TOO_COMPLEX)
        return _CONTEXT.divide(decimal.Decimal(exact.numerator), decimal.Decimal(exact.denominator))

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


def _bounded(number: Fraction) -> Fraction:
    return number if _bits(number) <= MAX_BITS else reject(Rejection.TOO_COMPLEX)


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


def _divide(left: Fraction, right: Fraction) -> Fraction:
    return left / right if right else reject(Rejection.NOT_A_NUMBER)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        return _power(_nth_root(base, exponent.denominator), Fraction(exponent.numerator))
    if base == 0 and exponent < 0:
        reject(Rejection.NOT_A_NUMBER)
    if base in (0, 1, -1) or exponent == 0:
        return Fraction(base.numerator ** (2 if exponent and exponent % 2 == 0 else int(exponent != 0)))
    if abs(exponent) * _bits(base) > 2 * MAX_BITS:  # bits overstates: 10 has 4, and log2(10) is 3.3
        reject(Rejection.TOO_COMPLEX)
    return Fraction(base ** int(exponent))


def _nth_root(radicand: Fraction, degree: int) -> Fraction:
    if degree == 0 or (radicand < 0 and degree % 2 == 0):
        reject(Rejection.NOT_A_NUMBER)
    if radicand < 0:
        return -_nth_root(-radicand, degree)
    return Fraction(_integer_root(radicand.numerator, degree), _integer_root(radicand.denominator, degree))


def _integer_root(radicand: int, degree: int) -> int:
    """The exact root of a natural number. Raises: _IrrationalError if there is none."""
    if radicand < 2 or degree == 1:
        return radicand
    root = 1 if degree >= radicand.bit_length() else floor_root(radicand, degree)
    if root**degree != radicand:
        raise _IrrationalError
    return root


def _logarithm(base: Fraction, argument: Fraction) -> Fraction:
    if base <= 0 or base == 1 or argument <= 0:
        reject(Rejection.NOT_A_NUMBER)
    per_step = math.log(base.numerator) - math.log(base.denominator)
    size = math.log(argument.numerator) - math.log(argument.denominator)
    ratio = size / per_step if abs(per_step) > 1e-9 else 0.0
    exponent = Fraction(ratio).limit_denominator(LOG_MAX_DENOMINATOR)
    # log_b a = p/q where b^p = a^q; so `\log_4 8` needs no proof by sympy.
    if exponent.denominator > 1 and _bits(argument) > SURD_MAX_BITS:
        raise _IrrationalError
    if _power(base, Fraction(exponent.numerator)) != _power(argument, Fraction(exponent.denominator)):
        raise _IrrationalError
    return exponent


def _factorial(number: Fraction) -> Fraction:
    count = _natural(number)
    return Fraction(math.factorial(count)) if count <= MAX_FACTORIAL else reject(Rejection.TOO_COMPLEX)


def _binomial(number: Fraction, chosen: Fraction) -> Fraction:
    total, part = _natural(number), _natural(chosen)
    part = min(part, total - part)
    if part < 0:
        return Fraction(0)
    if part * total.bit_length() > MAX_BITS:
        reject(Rejection.TOO_COMPLEX)
    return Fraction(math.comb(total, part))


def _common_multiple(numbers: list[int]) -> int:
    multiple = 1
    for number in numbers:
        multiple = math.lcm(multiple, number)
        if multiple.bit_length() > MAX_BITS:
            reject(Rejection.TOO_COMPLEX)
    return multiple


def _integer(number: Fraction) -> int:
    return number.numerator if number.denominator == 1 else reject(Rejection.NOT_AN_INTEGER)


def _natural(number: Fraction) -> int:
    return number.numerator if number.denominator == 1 and number >= 0 else reject(Rejection.NOT_A_NUMBER)


def _positive(number: Fraction) -> int:
    return _natural(number) or reject(Rejection.NOT_A_NUMBER)


_OF_INTEGERS = frozenset({Op.FACTORIAL, Op.BINOMIAL, Op.MOD, Op.GCD, Op.LCM, Op.MAX, Op.MIN})
_ROUNDING: dict[Op, Callable[[Fraction | decimal.Decimal], int]] = {Op.FLOOR: math.floor, Op.CEIL: math.ceil}
_EXACT: dict[Op, Callable[..., Fraction]] = {
    Op.ADD: lambda left, right: left + right,
    Op.SUB: lambda left, right: left - right,
    Op.MUL: lambda left, right: left * right,
    Op.DIV: _divide,
    Op.POW: _power,
    Op.NEG: lambda only: -only,
    Op.FACTORIAL: _factorial,
    Op.BINOMIAL: _binomial,
    Op.ROOT: lambda radicand, degree: _nth_root(radicand, _natural(degree)),
    Op.LOG: _logarithm,
    Op.ABS: abs,
    Op.GCD: lambda *numbers: Fraction(math.gcd(*map(_integer, numbers))),
    Op.LCM: lambda *numbers: Fraction(_common_multiple([_integer(number) for number in numbers])),
    Op.MAX: lambda *numbers: max(numbers),
    Op.MIN: lambda *numbers: min(numbers),
    Op.MOD: lambda number, divisor: Fraction(_integer(number) % _positive(divisor)),
}

_CONTEXT = decimal.Context(
    prec=SURD_DIGITS,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Underflow],
)


def _looks_integral(digits: decimal.Decimal) -> bool:
    return abs(_CONTEXT.subtract(digits, digits.to_integral_value())) <= INTEGER_TOLERANCE


def _trusted(digits: decimal.Decimal) -> decimal.Decimal:
    """Refuse numbers so large that their rounding error could reach the places that decide."""
    return digits if abs(digits) < SURD_MAX_MAGNITUDE else reject(Rejection.TOO_COMPLEX)


def _approximate_quotient(over: decimal.Decimal, under: decimal.Decimal) -> decimal.Decimal:
    if abs(under) * SURD_MAX_MAGNITUDE < 1:  # perhaps a zero that cancellation left as noise
        reject(Rejection.TOO_COMPLEX)
    return _CONTEXT.divide(over, under)


def _approximate_root(radicand: decimal.Decimal, degree: decimal.Decimal) -> decimal.Decimal:
    if degree == 2:
        return _CONTEXT.sqrt(radicand)
    size = _CONTEXT.power(_CONTEXT.abs(radicand), _CONTEXT.divide(decimal.Decimal(1), degree))
    if radicand >= 0:
        return size
    return _CONTEXT.minus(size) if degree % 2 == 1 else reject(Rejection.NOT_A_NUMBER)


_APPROXIMATE: dict[Op, Callable[..., decimal.Decimal]] = {
    Op.ADD: _CONTEXT.add,
    Op.SUB: _CONTEXT.subtract,
    Op.MUL: _CONTEXT.multiply,
    Op.DIV: _approximate_quotient,
    Op.POW: _CONTEXT.power,
    Op.NEG: _CONTEXT.minus,
    Op.ROOT: _approximate_root,
    Op.LOG: lambda base, argument: _CONTEXT.divide(_CONTEXT.ln(argument), _CONTEXT.ln(base)),
    Op.ABS: _CONTEXT.abs,
}
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
