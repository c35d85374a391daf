from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.evaluation.expressions import MAX_CHARS, normal_form


@pytest.mark.parametrize(
    "same",
    [
        ("\\frac{1}{2}", "\\dfrac{1}{2}", "\\frac12", "\\tfrac 1 2", "1/2", " 1 / 2 ", "$\\frac{1}2$", "\\frac1{2}"),
        ("\\sqrt{2}", "\\sqrt2", "\\sqrt 2"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\frac{\\pi}{2})", "\\bigl(3,\\,\\frac{\\pi}{2}\\bigr)"),
        ("90^\\circ", "90^{\\circ}", "90°", "90\\degree", "90"),
        ("\\text{Evelyn}", "Evelyn", "evelyn", "\\textbf{Evelyn}."),
        ("\\text{(C)}", "(C)", "(c)"),
        ("x=\\pi", "\\pi", "x = \\pi."),
        ("10\\%", "10%", "10"),
        ("1,234.5", "1{,}234.5", "1234.5", "\\$1{,}234.5"),
        (".5", "0.5"),
        ("x \\le 3", "x\\leq 3"),
        ("-\\frac{1}{2}", "-1/2", "−\\frac12"),
    ],
)
def test_ways_of_writing_one_answer_are_one_text(same: tuple[str, ...]) -> None:
    assert len({normal_form(latex) for latex in same}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("1,2", "12"), ("(1,234)", "(1234)"), ("0.5", "1/2"), ("A", "B"), ("x^2", "x_2"), ("2x=3", "3"), ("-1", "1")],
)
def test_different_answers_stay_different(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)


def test_an_empty_answer_and_one_too_long_are_none() -> None:
    assert normal_form(" \n") is None
    assert normal_form("x" * (MAX_CHARS + 1)) is None


@given(st.text(alphabet=st.sampled_from("0129./,-+=^_{}()\\$ %xfracsqrtle\n°−")) | st.text())
def test_it_is_total_and_what_says_something_still_says_it(latex: str) -> None:
    form = normal_form(latex)
    assert (form is None) == (not latex.strip() or len(latex.strip()) > MAX_CHARS)
    assert form != ""
