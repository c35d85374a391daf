"""Whether an expression of roots is an integer, proved: a syntax tree and an integer in, yes or no out.

An algebraic number that is not zero cannot be arbitrarily small. How small it can be follows from the form of the
expression alone (a separation bound). So two exact steps prove `expression == expected`: the bound of their difference,
and an interval of whole numbers around the difference that is narrower than the bound. No polynomial is computed, and
the work is known before it is done: it is limited by the bits of the bound.

Not for logarithms, nor for powers with an irrational exponent: those may be transcendental.
Source: Burnikel, Funke, Mehlhorn, Schirra, Schmitt, "A Separation Bound for Real Algebraic Expressions" (ESA 2001):
E = U / L with algebraic integers U and L whose conjugates are at most u and l, so that E is 0 or
|E| >= 1 / (u^(D-1) l), where D is the product of the degrees of the distinct roots.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from kit.answers.rejection import Rejection, reject
from kit.answers.syntax_tree import Apply, Node, Op

MAX_BOUND_BITS = 1 << 11  # of the separation bound: 2000 bits allow degree 500 where the numbers are small
MAX_ROOT_BITS = 1 << 16  # of a number whose root is taken
_GUARD_BITS = (64, 576)  # beyond the bound's, for what the intervals lose; the second where the first was not enough

Rational = Callable[[Node], Fraction | None]
"""The value of a node that is known to be rational; None for the others."""


def equals(node: Node, expected: int, *, rational: Rational) -> bool:
    """Whether the expression has this value.

    Raises: Rejected(TOO_COMPLEX) if a proof is beyond the limits or the expression may be transcendental.
    """
    form = _Form(rational)
    size = form.size(node)
    if form.degree() > MAX_BOUND_BITS:  # so large that the bound below would be, whatever it is multiplied with
        reject(Rejection.TOO_COMPLEX)
    # The size of `node - expected`.
    size = _Size(_log_sum(size.over, size.under + math.log2(max(1, abs(expected)))), size.under)
    needed = math.ceil((form.degree() - 1) * size.over + size.under) + 2
    if needed > MAX_BOUND_BITS:
        reject(Rejection.TOO_COMPLEX)
    for guard in _GUARD_BITS:
        low, high = _Intervals(rational, needed + guard).around(node)
        target = expected << (needed + guard)
        if not low <= target <= high:
            return False
        if max(target - low, high - target) < 1 << guard:
            return True
    return reject(Rejection.TOO_COMPLEX)


# --------------------------------------------------------------------------------------- the bound


@dataclass(frozen=True, slots=True)
class _Size:
    """Of a number U / L: log2 of upper bounds, at least 0, of the conjugates of U (over) and of L (under)."""

    over: float
    under: float


def _log_sum(left: float, right: float) -> float:
    return max(left, right) + math.log2(1 + 2.0 ** -abs(left - right))


class _Form:
    """What the form of an expression says of its size and its degree."""

    def __init__(self, rational: Rational) -> None:
        self._rational = rational
        self._sizes: dict[Node, _Size] = {}
        self._degrees: dict[Node, int] = {}  # of the distinct roots met so far

    def degree(self) -> int:
        return math.prod(self._degrees.values())

    def size(self, node: Node) -> _Size:
        known = self._sizes.get(node)
        if known is None:
            known = self._sizes[node] = self._size(node)
        return known

    def _size(self, node: Node) -> _Size:
        exact = self._rational(node)
        if exact is not None:
            return _Size(math.log2(max(1, abs(exact.numerator))), math.log2(exact.denominator))
        assert isinstance(node, Apply)  # a literal is rational
        match node.op, node.args:
            case ((Op.ADD | Op.SUB), (left, right)):
                a, b = self.size(left), self.size(right)
                return _Size(_log_sum(a.over + b.under, a.under + b.over), a.under + b.under)
            case Op.MUL, (left, right):
                a, b = self.size(left), self.size(right)
                return _Size(a.over + b.over, a.under + b.under)
            case Op.DIV, (left, right):
                a, b = self.size(left), self.size(right)
                return _Size(a.over + b.under, a.under + b.over)
            case ((Op.NEG | Op.ABS), (only,)):
                return self.size(only)
            case Op.ROOT, (radicand, degree):
                return self._rooted(node, self.size(radicand), _whole(self._rational(degree)))
            case Op.POW, (base, exponent):
                return self._raised(node, self.size(base), self._rational(exponent))
        return reject(Rejection.TOO_COMPLEX)

    def _rooted(self, node: Node, inside: _Size, degree: int) -> _Size:
        """The root of U / L is that of U L^(k-1), over L; or U over the root of U^(k-1) L."""
        self._degrees[node] = degree
        if inside.over >= inside.under:
            return _Size((inside.over + (degree - 1) * inside.under) / degree, inside.under)
        return _Size(inside.over, ((degree - 1) * inside.over + inside.under) / degree)

    def _raised(self, node: Node, base: _Size, exponent: Fraction | None) -> _Size:
        if exponent is None or abs(exponent.numerator) > MAX_BOUND_BITS:
            reject(Rejection.TOO_COMPLEX)
        times = abs(exponent.numerator)
        size = _Size(base.over * times, base.under * times)
        if exponent < 0:
            size = _Size(size.under, size.over)
        return size if exponent.denominator == 1 else self._rooted(node, size, exponent.denominator)


def _whole(number: Fraction | None) -> int:
    if number is None or number.denominator != 1 or number < 1:
        reject(Rejection.TOO_COMPLEX)
    return number.numerator


# ----------------------------------------------------------------------------------- the intervals

_Interval = tuple[int, int]  # whole numbers: the ends, in units of 2^-bits


class _Intervals:
    """Intervals around the values of an expression and of its parts, in units of 2^-bits."""

    def __init__(self, rational: Rational, bits: int) -> None:
        self._rational = rational
        self._bits = bits
        self._known: dict[Node, _Interval] = {}

    def around(self, node: Node) -> _Interval:
        known = self._known.get(node)
        if known is None:
            known = self._known[node] = self._around(node)
        return known

    def _around(self, node: Node) -> _Interval:
        exact = self._rational(node)
        if exact is not None:
            shifted = exact.numerator << self._bits
            return shifted // exact.denominator, -(-shifted // exact.denominator)
        assert isinstance(node, Apply)  # a literal is rational
        match node.op, node.args:
            case Op.POW, (base, exponent):
                power = self._rational(exponent)
                assert power is not None  # the bound was taken before
                return self._power(self.around(base), power)
            case Op.ROOT, (radicand, degree):
                return self._root(self.around(radicand), _whole(self._rational(degree)))
        args = [self.around(arg) for arg in node.args]
        match node.op, args:
            case Op.ADD, [a, b]:
                return a[0] + b[0], a[1] + b[1]
            case Op.SUB, [a, b]:
                return a[0] - b[1], a[1] - b[0]
            case Op.MUL, [a, b]:
                return self._product(a, b)
            case Op.DIV, [a, b]:
                return self._product(a, self._inverse(b))
            case Op.NEG, [a]:
                return -a[1], -a[0]
            case Op.ABS, [a]:
                return max(0, a[0], -a[1]), max(-a[0], a[1])
        return reject(Rejection.TOO_COMPLEX)

    def _product(self, a: _Interval, b: _Interval) -> _Interval:
        ends = [x * y for x in a for y in b]
        return min(ends) >> self._bits, -(-max(ends) >> self._bits)

    def _inverse(self, a: _Interval) -> _Interval:
        if a[0] <= 0 <= a[1]:
            reject(Rejection.TOO_COMPLEX)
        one = 1 << 2 * self._bits
        return one // a[1], -(-one // a[0])

    def _power(self, base: _Interval, exponent: Fraction) -> _Interval:
        result = (1 << self._bits, 1 << self._bits)
        for bit in f"{abs(exponent.numerator):b}":
            result = self._product(result, result)
            if bit == "1":
                result = self._product(result, base)
        if exponent < 0:
            result = self._inverse(result)
        return result if exponent.denominator == 1 else self._root(result, exponent.denominator)

    def _root(self, radicand: _Interval, degree: int) -> _Interval:
        low, high = radicand
        if high < 0 and degree % 2 == 1:
            negative = self._root((-high, -low), degree)
            return -negative[1], -negative[0]
        if low < 0 and (degree % 2 == 1 or high < 0):
            reject(Rejection.TOO_COMPLEX if degree % 2 == 1 else Rejection.NOT_A_NUMBER)
        shift = self._bits * (degree - 1)
        if high.bit_length() + shift > MAX_ROOT_BITS:
            reject(Rejection.TOO_COMPLEX)
        return floor_root(max(0, low) << shift, degree), floor_root(high << shift, degree) + 1


def floor_root(radicand: int, degree: int) -> int:
    """The root of a natural number, rounded down; by Newton's iteration, which falls from above to the floor."""
    if degree == 2:
        return math.isqrt(radicand)
    if radicand < 2 or degree == 1:
        return radicand
    guess = 1 << -(-radicand.bit_length() // degree)
    while True:
        lower = ((degree - 1) * guess + radicand // guess ** (degree - 1)) // degree
        if lower >= guess:
            return guess
        guess = lower
