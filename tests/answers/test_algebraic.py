from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.answers.algebraic import floor_root
from kit.answers.exact import value
from kit.answers.parser import parse_prefix
from kit.answers.rejection import Rejected, Rejection
from kit.answers.tokens import tokenise


def evaluated(text: str) -> Fraction | Rejection:
    try:
        return value(parse_prefix(tokenise(text))[0])
    except Rejected as verdict:
        return verdict.reason


@given(st.integers(2, 40), st.integers(1, 30), st.integers(2, 4))
def test_proves_what_multiplying_out_gives(inside: int, whole: int, power: int) -> None:
    product = rf"({whole}+\sqrt{{{inside}}})^{power} ({whole}-\sqrt{{{inside}}})^{power}"
    assert evaluated(product) == (whole**2 - inside) ** power


@given(st.integers(2, 10**4), st.integers(2, 5), st.integers(-3, 3))
def test_a_root_beside_a_near_integer_is_no_integer(whole: int, degree: int, off: int) -> None:
    read = evaluated(rf"\sqrt[{degree}]{{{whole}^{{{degree}}} + {off}}}")
    # refused either way: the digits of some radicands are more than are worked out
    assert read in ((whole,) if off == 0 else (Rejection.NOT_AN_INTEGER, Rejection.TOO_COMPLEX)) or whole < 4


def test_roots_of_huge_degree_are_refused() -> None:
    """Bug of an earlier version: the degrees' product was more than a float can be."""
    nested = "2"
    for _ in range(20):
        nested = rf"\sqrt[9999999999999999999]{{{nested}}}"
    assert evaluated(nested) in (Rejection.TOO_COMPLEX, Rejection.NOT_AN_INTEGER)


@given(st.integers(0, 10**60), st.integers(1, 9))
def test_the_floor_of_a_root_is_exact(radicand: int, degree: int) -> None:
    root = floor_root(radicand, degree)
    assert root**degree <= radicand < (root + 1) ** degree


NESTED = [
    (
        r"\sqrt{2+\sqrt{2+\sqrt{2+\sqrt2}}}\sqrt{2-\sqrt{2+\sqrt{2+\sqrt2}}}\sqrt{2+\sqrt{2+\sqrt2}}\sqrt{2+\sqrt2}\sqrt2",
        2,
    ),
    (r"\sqrt[3]{5+\sqrt{24}}\cdot\sqrt[3]{5-\sqrt{24}}\cdot\sqrt[3]{8}", 2),
    (r"\sqrt[3]{\sqrt{5}+2}-\sqrt[3]{\sqrt{5}-2}", 1),
    (r"\sqrt[4]{17+12\sqrt2}-\sqrt2", 1),
    (r"\sqrt[5]{2}\sqrt[5]{3}\sqrt[5]{7}\sqrt[5]{11}\sqrt[5]{13}", Rejection.NOT_AN_INTEGER),
    (r"\sqrt[11]{2}^{11}\sqrt[13]{3}^{13}\sqrt[17]{5}^{17}\sqrt[19]{7}^{19}", Rejection.TOO_COMPLEX),  # degree 46189
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("text", "expected"), NESTED)
def test_nested_radicals_are_proved_or_refused_by_work_that_is_known_before(text: str, expected: object) -> None:
    """Bug: a product of cube roots took 1.35 s, by the minimal polynomial of each root."""
    assert evaluated(text) == expected


def test_a_rational_root_costs_no_degree() -> None:
    """Bug: `\\sqrt[3]{8}` counted as a cube root, and the product was refused."""
    assert evaluated(r"\sqrt2\sqrt8" + r"\sqrt[3]{8}" * 10) == 4 * 2**10
