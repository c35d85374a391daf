"""Why a text states no answer: the reasons, and the exception that carries one out of a recursion."""

from __future__ import annotations

from enum import StrEnum
from typing import NoReturn


class Rejection(StrEnum):
    """Why a text is no answer."""

    EMPTY = "empty"
    NOT_A_NUMBER = "not a number"  # words, variables, broken or ambiguous notation
    SEVERAL_VALUES = "several values"  # a list, a tuple, `1,22`, sides of `=` that differ
    NOT_AN_INTEGER = "not an integer"
    OUT_OF_RANGE = "out of range"
    TOO_COMPLEX = "too complex"  # beyond the bounds of the readers in this folder


class Rejected(Exception):  # noqa: N818  a verdict on a text, told to the caller as a value
    """Carries a Rejection out of a recursion; `kit.answers.normalisation` returns it as a value."""

    def __init__(self, reason: Rejection) -> None:
        super().__init__(reason.value)
        self.reason = reason


def reject(reason: Rejection) -> NoReturn:
    """Raise Rejected."""
    raise Rejected(reason)
