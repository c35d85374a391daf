"""The operations of a syntax tree with 150 decimal digits; refused where so many could not be trusted.

They say what an irrational value may be, and prove nothing. Raises: Rejected, and decimal's exceptions for 1/0 and its
like.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable

from kit.answers.rejection import Rejection, reject
from kit.answers.syntax_tree import Op

SURD_DIGITS = 150
SURD_MAX_MAGNITUDE = decimal.Decimal(10) ** 40  # of a number in it; of a divisor, the inverse
INTEGER_TOLERANCE = decimal.Decimal(10) ** -60

CONTEXT = decimal.Context(
    prec=SURD_DIGITS,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Underflow],
)


def looks_integral(digits: decimal.Decimal) -> bool:
    """Whether a number is an integer to 60 decimal places."""
    return abs(CONTEXT.subtract(digits, digits.to_integral_value())) <= INTEGER_TOLERANCE


def trusted(digits: decimal.Decimal) -> decimal.Decimal:
    """Refuse numbers so large that their rounding error could reach the places that decide."""
    return digits if abs(digits) < SURD_MAX_MAGNITUDE else reject(Rejection.TOO_COMPLEX)


def _approximate_quotient(over: decimal.Decimal, under: decimal.Decimal) -> decimal.Decimal:
    if abs(under) * SURD_MAX_MAGNITUDE < 1:  # perhaps a zero that cancellation left as noise
        reject(Rejection.TOO_COMPLEX)
    return CONTEXT.divide(over, under)


def _approximate_root(radicand: decimal.Decimal, degree: decimal.Decimal) -> decimal.Decimal:
    if degree == 2:
        return CONTEXT.sqrt(radicand)
    size = CONTEXT.power(CONTEXT.abs(radicand), CONTEXT.divide(decimal.Decimal(1), degree))
    if radicand >= 0:
        return size
    return CONTEXT.minus(size) if degree % 2 == 1 else reject(Rejection.NOT_A_NUMBER)


APPROXIMATE: dict[Op, Callable[..., decimal.Decimal]] = {
    Op.ADD: CONTEXT.add,
    Op.SUB: CONTEXT.subtract,
    Op.MUL: CONTEXT.multiply,
    Op.DIV: _approximate_quotient,
    Op.POW: CONTEXT.power,
    Op.NEG: CONTEXT.minus,
    Op.ROOT: _approximate_root,
    Op.LOG: lambda base, argument: CONTEXT.divide(CONTEXT.ln(argument), CONTEXT.ln(base)),
    Op.ABS: CONTEXT.abs,
}
