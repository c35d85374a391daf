from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kit.data.solutions import clean_solution, hashed_gold, repaired, straight_quotes


def test_calculator_marks_go_and_the_hashed_answer_is_boxed() -> None:
    written = "Natalia sold 48/2 = <<48/2=24>>24 clips.\nIn all <<48+24=72>>72.\n#### 1,072"
    assert clean_solution(written) == (
        "Natalia sold 48/2 = 24 clips.\nIn all 72.\nThe final answer is $\\boxed{1072}$."
    )


def test_typographic_quotes_become_straight() -> None:
    assert clean_solution("It’s “12”") == 'It\'s "12"'


def test_a_swallowed_backslash_comes_back() -> None:
    """Regression (the source project): `'\\boxed'` in a string literal is a backspace and `oxed`."""
    assert repaired("so \boxed{5}, \frac12, \vec v, \alpha") == "so \\boxed{5}, \\frac12, \\vec v, \\alpha"


def test_white_space_and_a_solution_without_marks_stay() -> None:
    solution = "We have\n\t$x = 3$, so \\boxed{3}."
    assert clean_solution(solution) == solution


def test_only_the_last_hashed_answer_is_the_gold() -> None:
    assert hashed_gold("#### 3\nno:\n#### -1,234.50\n") == "-1234.50"
    assert hashed_gold("five #### 3") is None
    assert hashed_gold("####\n") is None


@given(st.text())
def test_cleaning_is_total_and_leaves_no_typographic_quote(text: str) -> None:
    assert not set(clean_solution(text)) & set("‘’“”")


@given(st.text())
def test_straight_quotes_change_no_other_character_and_no_length(text: str) -> None:
    straight = straight_quotes(text)
    assert len(straight) == len(text)
    assert all(new == old or new in "'\"" for new, old in zip(straight, text, strict=True))
