"""The operations of a syntax tree on rational numbers, under bounds: Fractions in, an exact Fraction out.

Work is bounded by construction rather than by a clock: the bits of every number are limited before each operation, so
that `10^{10^{10}}` is refused in microseconds. No large integer becomes text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from kit.answers.algebraic import floor_root
from kit.answers.rejection import Rejection, reject
from kit.answers.syntax_tree import Op

MAX_BITS = 1 << 14  # of any numerator or denominator: 4,932 decimal digits
MAX_FACTORIAL = 1500  # 1500! has 13,669 bits

LOG_MAX_BITS = 64  # of a number whose logarithm is a fraction
LOG_MAX_DENOMINATOR = 64  # of a logarithm that is rational


class IrrationalError(Exception):
    """The value is real but not rational."""


def bounded(number: Fraction) -> Fraction:
    """The number itself. Raises: Rejected if it has more than MAX_BITS bits."""
    return number if num_bits(number) <= MAX_BITS else reject(Rejection.TOO_COMPLEX)


def num_bits(number: Fraction) -> int:
    """Bits of the larger of numerator and denominator."""
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
    if abs(exponent) * num_bits(base) > 2 * MAX_BITS:  # bits overstates: 10 has 4, and log2(10) is 3.3
        reject(Rejection.TOO_COMPLEX)
    return Fraction(base ** int(exponent))


def _nth_root(radicand: Fraction, degree: int) -> Fraction:
    if degree == 0 or (radicand < 0 and degree % 2 == 0):
        reject(Rejection.NOT_A_NUMBER)
    if radicand < 0:
        return -_nth_root(-radicand, degree)
    return Fraction(_integer_root(radicand.numerator, degree), _integer_root(radicand.denominator, degree))


def _integer_root(radicand: int, degree: int) -> int:
    """The exact root of a natural number. Raises: IrrationalError if there is none."""
    if radicand < 2 or degree == 1:
        return radicand
    root = 1 if degree >= radicand.bit_length() else floor_root(radicand, degree)
    if root**degree != radicand:
        raise IrrationalError
    return root


def _logarithm(base: Fraction, argument: Fraction) -> Fraction:
    if base <= 0 or base == 1 or argument <= 0:
        reject(Rejection.NOT_A_NUMBER)
    per_step = math.log(base.numerator) - math.log(base.denominator)
    size = math.log(argument.numerator) - math.log(argument.denominator)
    ratio = size / per_step if abs(per_step) > 1e-9 else 0.0
    exponent = Fraction(ratio).limit_denominator(LOG_MAX_DENOMINATOR)
    # log_b a = p/q where b^p = a^q; so `\log_4 8` needs no proof by sympy.
    if exponent.denominator > 1 and num_bits(argument) > LOG_MAX_BITS:
        raise IrrationalError
    if _power(base, Fraction(exponent.numerator)) != _power(argument, Fraction(exponent.denominator)):
        raise IrrationalError
    return exponent


def _factorial(number: Fraction) -> Fraction:
    count = natural(number)
    return Fraction(math.factorial(count)) if count <= MAX_FACTORIAL else reject(Rejection.TOO_COMPLEX)


def _binomial(number: Fraction, chosen: Fraction) -> Fraction:
    total, part = natural(number), natural(chosen)
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


def integer(number: Fraction) -> int:
    """Raises: Rejected for what is no integer."""
    return number.numerator if number.denominator == 1 else reject(Rejection.NOT_AN_INTEGER)


def natural(number: Fraction) -> int:
    """Raises: Rejected for what is no integer, or negative."""
    return number.numerator if number.denominator == 1 and number >= 0 else reject(Rejection.NOT_A_NUMBER)


def positive(number: Fraction) -> int:
    """Raises: Rejected for what is no integer, or below 1."""
    return natural(number) or reject(Rejection.NOT_A_NUMBER)


EXACT: dict[Op, Callable[..., Fraction]] = {
    Op.ADD: lambda left, right: left + right,
    Op.SUB: lambda left, right: left - right,
    Op.MUL: lambda left, right: left * right,
    Op.DIV: _divide,
    Op.POW: _power,
    Op.NEG: lambda only: -only,
    Op.FACTORIAL: _factorial,
    Op.BINOMIAL: _binomial,
    Op.ROOT: lambda radicand, degree: _nth_root(radicand, natural(degree)),
    Op.LOG: _logarithm,
    Op.ABS: abs,
    Op.GCD: lambda *numbers: Fraction(math.gcd(*map(integer, numbers))),
    Op.LCM: lambda *numbers: Fraction(_common_multiple([integer(number) for number in numbers])),
    Op.MAX: lambda *numbers: max(numbers),
    Op.MIN: lambda *numbers: min(numbers),
    Op.MOD: lambda number, divisor: Fraction(integer(number) % positive(divisor)),
}
"""Each operation. Raises: Rejected for what is undefined or too large; IrrationalError."""
