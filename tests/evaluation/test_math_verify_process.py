from __future__ import annotations

from collections.abc import Iterator

import pytest

from kit.data.examples import AnswerForm, MathExample
from kit.errors import InputError
from kit.evaluation.math_verify_process import MathVerify
from kit.evaluation.records import ReadFrom
from kit.problem import Problem

pytest.importorskip("math_verify")
pytestmark = pytest.mark.slow
TOWER = "9^{9^{9^{9^9}}}"


@pytest.fixture(scope="module")
def verify() -> Iterator[MathVerify]:
    with MathVerify() as opened:
        yield opened


def example(gold: str) -> MathExample:
    return MathExample(problem=Problem("a", "b"), gold=gold, form=AnswerForm.EXPRESSION)


@pytest.mark.parametrize(
    ("gold", "answer", "is_right"),
    [
        ("\\frac{1}{2}", "0.5", True),
        ("x^2+1", "1+x^2", True),
        ("1,-2", "-2, 1", True),
        ("\\left(3,\\frac{\\pi}{2}\\right)", "(3,\\pi/2)", True),
        ("\\text{Evelyn}", "Evelyn", True),
        ("\\frac{1}{2}", "\\frac{1}{3}", False),
        ("27", "27.0", True),
        ("27", "3^3", True),
        ("27", "28", False),
        ("50000", "50004", False),
        ("-1", "1", False),
        ("a+3z=0", "0", False),
        ("742", "m+n = 742", True),
        ("\\frac{1}{2}", "{{{", False),
    ],
)
def test_answers_are_compared_by_worth(verify: MathVerify, gold: str, answer: str, is_right: bool) -> None:
    strict, lenient = verify.grade(f"So it is $\\boxed{{{answer}}}$.", example(gold))
    assert (strict.is_right, lenient.is_right) == (is_right, is_right)


def test_an_integer_after_a_box_with_an_expression_does_not_replace_it(verify: MathVerify) -> None:
    text = "So \\boxed{\\frac{1}{2}}. The answer is 2 times one quarter. The answer is 4."
    strict, _ = verify.grade(text, example("\\frac12"))
    assert (strict.answer, strict.is_right, strict.read_from) == ("\\frac{1}{2}", True, ReadFrom.BOXED)
    assert strict.span is not None
    assert text[slice(*strict.span)] == "\\frac{1}{2}"


def test_without_a_strict_answer_the_last_integer_counts_if_the_gold_is_one(verify: MathVerify) -> None:
    for gold, is_right in (("7", True), ("\\frac{7}{2}", False)):
        strict, lenient = verify.grade("we get 7", example(gold))
        assert (strict.answer, strict.is_right) == (None, False)
        assert (lenient.answer, lenient.is_right, lenient.read_from) == ("7", is_right, ReadFrom.LAST_INTEGER)


def test_one_that_hangs_is_not_right_and_the_next_gets_a_new_process(caplog: pytest.LogCaptureFixture) -> None:
    with MathVerify(limit_s=1.0) as verify:
        assert not verify.verify(gold="\\frac12", answer=TOWER)
        assert caplog.text.count("math-verify gave no verdict") == 1
        assert "no verdict on" in caplog.text
    with MathVerify(limit_s=30.0) as patient:
        assert patient.verify(gold="\\frac12", answer="0.5")


def test_a_process_that_dies_costs_one_verdict(caplog: pytest.LogCaptureFixture) -> None:
    with MathVerify(limit_s=30.0) as verify:
        assert verify.verify(gold="\\frac12", answer="0.5")
        process = verify._process
        assert process is not None
        process.kill()
        process.wait()
        assert not verify.verify(gold="\\frac12", answer="0.5")
        assert verify.verify(gold="\\frac12", answer="0.5")
        assert caplog.text.count("math-verify gave no verdict") == 1


def test_leaving_it_ends_the_process_and_nothing_starts_before_it_is_needed() -> None:
    with MathVerify() as verify:
        verify.grade("\\boxed{5}", example("5"))
        verify.grade("\\boxed{\\dfrac12}", example("\\frac12"))
        verify.grade("no answer", example("\\frac12"))
        assert verify._process is None
        verify.grade("\\boxed{0.5}", example("\\frac12"))
        process = verify._process
        assert process is not None
    assert process.poll() is not None


def test_a_limit_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"limit_s must be in \(0, 30\], got 0"):
        MathVerify(limit_s=0)
