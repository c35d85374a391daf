"""The syntax tree of an expression of numbers: literals and operations on them, without variables or values.

`kit.answers.parser` makes one, `kit.answers.exact` gives it its value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction


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
