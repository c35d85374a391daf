from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.evaluation.verdicts import last_integer, written


@pytest.mark.parametrize(
    ("text", "answer", "where"),
    [
        ("She has 18.", "18", "18"),
        ("It costs $18.00", "18", "18.00"),
        ("1,234 apples and 5,678,901", "5678901", "5,678,901"),
        ("1{,}234", "1234", "1{,}234"),
        ("either 1, 2 or 12,345,6", "6", "6"),
        ("x = -3", "-3", "-3"),
        ("x = - 3", "-3", "- 3"),
        ("loses -$18", "-18", "-$18"),
        ("loses $-18", "-18", "$-18"),
        ("x is −7", "-7", "−7"),
        ("5-3", "3", "3"),
        ("5 - 3", "3", "3"),
        ("(5)-3", "3", "3"),
        ("- 7", "7", "7"),
        ("007", "7", "007"),
        ("-0", "0", "0"),
        ("100%.", "100", "100"),
        ("in 3.", "3", "3"),
        ("at 10:30", "30", "30"),
    ],
)  # fmt: skip
def test_the_last_integer_is_read_where_it_stands(text: str, answer: str, where: str) -> None:
    found = last_integer(text)
    assert found is not None
    assert (found[0], text[slice(*found[1])]) == (answer, where)


@pytest.mark.parametrize("text", ["", "none", "2 halves are 3.5", "about .5", "version 1.2.3", "3 or 7.25 of them"])
def test_a_last_number_that_is_no_integer_gives_nothing(text: str) -> None:
    assert last_integer(text) is None


@given(st.text(alphabet=st.sampled_from("0123456789,.-−$ {}\\%x=\n")) | st.text())
def test_reading_is_total_and_what_is_read_lies_in_its_span(text: str) -> None:
    found = last_integer(text)
    if found is not None:
        answer, (begin, end) = found
        digits = answer.removeprefix("-")
        assert digits == "0" or not digits.startswith("0")
        assert digits in text[begin:end].replace(",", "").replace("{}", "").replace("\\", "")
        assert not any(character in "0123456789" for character in text[end:])


@given(st.integers(-(10**9), 10**9), st.text(alphabet="abc .\n"))
def test_a_number_at_the_end_is_read_with_its_sign_and_commas(number: int, before: str) -> None:
    for shown in (f"{number}", f"{number:,}"):
        found = last_integer(f"{before} {shown}.")
        assert found is not None
        assert found[0] == str(number)


def test_long_texts_of_digits_and_commas_take_linear_time() -> None:
    for text in ("1" * 10**6, "1," * 10**5, "111," * 10**5, "$-" * 10**5):
        last_integer(text)


def test_numbers_of_any_size_are_written_and_different_ones_differently() -> None:
    assert written(-12) == "-12"
    assert len({written(10**5000 + number) for number in range(3)}) == 3
