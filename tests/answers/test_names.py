import pytest

from kit.answers.normalisation import normalise
from kit.answers.rejection import Rejection


@pytest.mark.parametrize(
    "raw",
    [
        "-x = 12", "x! = 120", "12 = -x", "(-x) = 12", "(2x) = 14", r"\frac{x}{2} = 14", r"\frac{1}{x} = 14",
        r"\frac{2x}{3} = 14", r"\sqrt{2x} = 4", r"\binom{n}{2} = 15", r"\pm x = 12", "|2x| = 4", "x{2} = 14",
    ],
)  # fmt: skip
def test_a_side_that_alters_its_variable_does_not_state_it(raw: str) -> None:
    """Bug: a minus sign, a factorial and numbers in braces were overlooked, so that `-x = 12` gave 12."""
    assert normalise(raw) is Rejection.NOT_A_NUMBER
