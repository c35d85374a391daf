from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from kit.data.columns import LeftOut, Place, Rules, example_of
from kit.data.examples import AnswerForm, MathExample
from kit.errors import InputError

UNKNOWN = Rules()
INTEGERS = Rules(form=AnswerForm.INTEGER)
EXPRESSIONS = Rules(form=AnswerForm.EXPRESSION)
NUMINA = Rules(form=AnswerForm.EXPRESSION, is_mixed=True)


def read(rules: Rules = UNKNOWN, **row: Any) -> MathExample | LeftOut:
    return example_of(row, id_="set-test-6", place=Place(source="set.jsonl", number=7), rules=rules)


def example(rules: Rules = UNKNOWN, **row: Any) -> MathExample:
    found = read(rules, **row)
    assert isinstance(found, MathExample)
    return found


def test_gsm8ks_row_has_its_hashed_answer_for_gold_and_keeps_the_worked_text() -> None:
    found = example(INTEGERS, question="How many?", answer="48/2 = <<48/2=24>>24\n#### 1,234")
    assert (found.gold, found.form) == ("1234", AnswerForm.INTEGER)
    assert found.solution == "48/2 = <<48/2=24>>24\n#### 1,234"
    assert found.problem.id == "set-test-6"


def test_maths_row_has_its_last_whole_box_for_gold() -> None:
    found = example(
        EXPRESSIONS, problem="p", level="Level 5", type="Algebra",
        solution="First \\boxed{2}, then \\boxed{\\frac{1}{2}} and \\boxed{3",
    )  # fmt: skip
    assert (found.gold, found.level, found.subject) == ("\\frac{1}{2}", "5", "Algebra")
    assert found.form is AnswerForm.EXPRESSION


def test_a_missing_number_of_a_table_is_no_gold_where_a_solution_has_one() -> None:
    assert example(problem="p", answer=math.nan, solution=r"\boxed{7}").gold == "7"


def test_an_answer_column_wins_over_the_solutions_box() -> None:
    found = example(
        EXPRESSIONS, problem="p", solution="\\boxed{3}", answer="3.0", subject="Algebra", level=2, unique_id="a/1"
    )
    assert (found.gold, found.level, found.subject, found.problem.id) == ("3.0", "2", "Algebra", "a/1")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("27.0", "27"),
        (27.0, "27"),
        (27, "27"),
        ("-1.0", "-1"),
        ("1,000", "1000"),
        ("$5", "5"),
        (1e15, "1000000000000000"),
        (Decimal("12"), "12"),
        (10**30, str(10**30)),
    ],
)
def test_a_number_that_is_whole_is_an_integer(answer: Any, gold: str) -> None:
    assert (example(problem="p", answer=answer).gold, example(INTEGERS, problem="p", answer=answer).gold) == (
        gold,
        gold,
    )


@pytest.mark.parametrize("answer", ["1.5", "\\frac{1}{2}", "x+1", "(1,2)", "52_8", "90^\\circ"])
def test_where_the_set_is_not_known_what_is_no_plain_integer_is_an_expression(answer: str) -> None:
    found = example(problem="p", answer=answer)
    assert (found.gold, found.form) == (answer, AnswerForm.EXPRESSION)


def test_quotes_are_straight_and_the_text_as_written_is_kept() -> None:
    found = example(question="Janet’s ducks", answer="#### 3")
    assert (found.problem.text, found.as_written) == ("Janet's ducks", "Janet’s ducks")
    assert example(question="Janet's ducks", answer="#### 3").as_written == ""


def test_a_backspace_that_was_a_backslash_is_repaired() -> None:
    assert example(problem="p", solution="so \boxed{5}").gold == "5"


def test_any_other_backspace_is_refused_with_the_row() -> None:
    with pytest.raises(InputError, match=r"set\.jsonl: row 7: holds a backspace"):
        read(problem="p\b\b", answer="3")


def test_numinas_proofs_and_rows_without_an_answer_are_left_out() -> None:
    assert read(NUMINA, problem="Prove that $a > b$.", solution="\\boxed{a > b}") is LeftOut.PROOF
    assert read(NUMINA, problem="p", solution="", answer="proof") is LeftOut.PROOF
    assert read(NUMINA, problem="Find $x$.", solution="It is 5.") is LeftOut.NO_GOLD
    assert read(NUMINA, problem="Find $x$.", answer="notfound") is LeftOut.NO_GOLD


def test_a_problem_that_asks_for_a_value_and_its_proof_stays() -> None:
    found = example(NUMINA, problem="Find the least $n$ and prove that it is least.", solution="\\boxed{5}")
    assert found.gold == "5"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"problem": "p", "gold": 3}, "no column 'answer', found problem, gold"),
        ({"text": "p", "answer": 3}, "no column 'problem', found text, answer"),
        ({"problem": " ", "answer": 3}, "'problem' is empty"),
        ({"problem": "p", "answer": ""}, "no gold answer"),
        ({"problem": "p", "solution": "no box \\boxed{3"}, "no gold answer"),
        ({"problem": "p", "answer": None, "solution": None}, "no gold answer"),
        ({"problem": "p", "answer": math.nan}, "no gold answer"),
        ({"problem": "p", "answer": math.inf}, "'answer' is inf, which no float holds exactly"),
        (
            {"problem": "p", "answer": 12345678901234567890.0},
            "'answer' is 1.2345678901234567e.19, which no",
        ),
        ({"problem": "p", "answer": True}, "'answer' is True; expected a text or a number"),
        ({"problem": "p", "answer": ["1", "2"]}, r"'answer' is \['1', '2'\]; expected a text or a number"),
        ({"problem": {"x": 1}, "answer": 3}, "'problem' is {'x': 1}; expected a text"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_what_was_found(row: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=rf"set\.jsonl: row 7: {told}"):
        read(**row)


@pytest.mark.parametrize("answer", ["many", "1.5", "3, 4", "x"])
def test_a_gold_that_is_no_number_is_refused_in_a_set_of_integers(answer: str) -> None:
    with pytest.raises(InputError, match=rf"row 7: the gold answer is '{answer}' .*integers, such as"):
        read(INTEGERS, problem="p", answer=answer)


def test_steps_are_the_results_before_the_gold_of_a_column_or_of_calculator_marks() -> None:
    worked = "48/2 = <<48/2=24>>24, 1,000+200 = <<1,000+200=1,200>>1,200, then <<24+1,200=1224>>1224\n#### 1,224"
    assert example(INTEGERS, question="How many?", answer=worked).steps == ("24", "1200")
    assert example(problem="p", answer="5", steps=[3, "4 ", 5]).steps == ("3", "4")
    assert example(problem="p", answer="5", steps=[]).steps == ()
    assert example(problem="p", answer="5", steps="[3, 4, 5]").steps == ("3", "4")  # of a CSV file
    assert example(problem="p", answer="5", steps=" ").steps == ()
    assert example(problem="p", answer="5").steps == ()


@pytest.mark.parametrize("steps", ["3, 4", 3, {"1": 3}, [[3]], [None], [2.5, {}]])
def test_steps_of_another_kind_are_an_error_that_names_the_row(steps: Any) -> None:
    with pytest.raises(InputError, match=r"set\.jsonl: row 7: 'steps' is .*expected a list of results"):
        read(problem="p", answer="5", steps=steps)
