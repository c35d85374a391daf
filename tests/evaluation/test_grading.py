from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.data.examples import AnswerForm, MathExample
from kit.errors import InputError
from kit.evaluation.grading import Grader, grade
from kit.evaluation.records import Grade, ReadFrom
from kit.problem import Problem


def example(gold: str, form: AnswerForm = AnswerForm.INTEGER) -> MathExample:
    return MathExample(problem=Problem("a", "Find it modulo 5."), gold=gold, form=form)


def told(found: Grade, text: str) -> tuple[str | None, bool, ReadFrom, str | None]:
    return found.answer, found.is_right, found.read_from, found.span and text[slice(*found.span)]


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("so \\boxed{18}.", ("18", True, ReadFrom.BOXED, "18"), None),
        ("The answer is $18.00. Bye 7", ("18", True, ReadFrom.STATED, "$18.00"), None),
        ("12 + 6\n#### 18", ("18", True, ReadFrom.STATED, "18"), None),
        ("A: 18", ("18", True, ReadFrom.STATED, "18"), None),
        ("12 + 6 = 18 eggs", (None, False, ReadFrom.NOWHERE, None), ("18", True, ReadFrom.LAST_INTEGER, "18")),
        ("\\boxed{x}, 7", (None, False, ReadFrom.NOWHERE, None), ("7", False, ReadFrom.LAST_INTEGER, "7")),
        ("\\boxed{17} but 18", ("17", False, ReadFrom.BOXED, "17"), None),
        ("", (None, False, ReadFrom.NOWHERE, None), None),
    ],
)
def test_a_completion_is_read_strictly_and_else_by_its_last_integer(
    text: str, strict: tuple[object, ...], lenient: tuple[object, ...] | None
) -> None:
    found = grade(text, example("18"))
    assert told(found[0], text) == strict
    assert told(found[1], text) == (lenient or strict)


@pytest.mark.parametrize("gold", ["-10", "1450000", "0", "123456789012345678901234567890"])
def test_golds_have_any_sign_and_size(gold: str) -> None:
    assert grade(f"\\boxed{{{gold}}}", example(gold))[0].is_right
    assert grade(f"it is {gold}", example(gold))[1].is_right
    assert not grade(f"\\boxed{{{int(gold) + 1}}}", example(gold))[0].is_right


def test_no_modulus_is_applied_that_the_completion_did_not() -> None:
    assert not grade("\\boxed{8}", example("3"))[0].is_right


def test_integers_are_compared_without_tolerance() -> None:
    """Regression (the field): a relative tolerance of 1e-4 takes 50004 for 50000."""
    assert not grade("\\boxed{50004}", example("50000"))[0].is_right
    assert not grade("\\boxed{0.5}", example("50"))[0].is_right


@pytest.mark.parametrize(
    "text",
    [
        "<think>4 \\boxed{4}</think>So\nthe box is \\boxed{18}.",
        "```python\nprint(18)\n```\n```output\n18\n```\nSo \\boxed{18} it is, not 18.",
        "analysis 4<|channel|>final<|message|>It is \\boxed{18}<|return|>",
        "<think>I find \\boxed{18} and go on",
    ],
)
def test_the_span_is_the_answers_own_place_in_the_whole_text(text: str) -> None:
    strict, _ = grade(text, example("18"))
    assert strict.span is not None
    begin, end = strict.span
    assert text[begin - 7 : end + 1] == "\\boxed{18}"


def test_a_statements_span_is_not_a_later_mention() -> None:
    text = "The answer is 18. She sells 18 eggs for 18 dollars."
    assert grade(text, example("18"))[0].span == (14, 16)


def test_a_gold_that_is_no_integer_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"problem 'a': the gold answer is '\\\\frac12'"):
        grade("5", example("\\frac12"))


def test_the_form_chooses_the_grader() -> None:
    pytest.importorskip("math_verify")
    with Grader() as grader:
        assert grader.grade("\\boxed{18}", example("18"))[0].is_right
        assert grader.grade("\\boxed{\\dfrac{1}{2}}", example("\\frac12", AnswerForm.EXPRESSION))[0].is_right


_PIECES = st.lists(
    st.sampled_from(
        [
            "\\boxed{",
            "}",
            "The answer is ",
            "18",
            "7",
            "-",
            ",",
            ".",
            "$",
            "\n",
            "#### ",
            "<think>",
            "</think>",
            "```",
            " x ",
        ]
    )
).map("".join)


@given(_PIECES | st.text(), st.integers(-100, 10**6))
def test_grading_is_total_and_lenient_is_right_wherever_strict_is(text: str, gold: int) -> None:
    strict, lenient = grade(text, example(str(gold)))
    assert lenient.is_right or not strict.is_right
    assert strict.answer is None or lenient == strict
    for found in (strict, lenient):
        assert (found.answer is None) == (found.read_from is ReadFrom.NOWHERE)
        assert found.is_right == (found.answer == str(gold))
        if found.span is not None:
            begin, end = found.span
            assert 0 <= begin < end <= len(text)


@given(_PIECES, st.integers(0, 10**6))
def test_a_box_at_the_end_is_what_is_read(text: str, number: int) -> None:
    end = f"\n</think>\n\\boxed{{{number}}}"
    strict, _ = grade(text.replace("```", "") + end, example(str(number)))
    assert strict.is_right
