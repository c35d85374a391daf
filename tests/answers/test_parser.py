import pytest

from kit.answers.normalisation import normalise
from kit.answers.parser import parse_prefix
from kit.answers.rejection import Rejected, Rejection
from kit.answers.tokens import tokenise


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("5!!", Rejection.NOT_A_NUMBER),
        ("2^{3}!", Rejection.NOT_A_NUMBER),
        ("6/2(1+2)", Rejection.NOT_A_NUMBER),
        ("10!/8!2!", Rejection.NOT_A_NUMBER),
        ("3!4!!", Rejection.NOT_A_NUMBER),
        ("2{3}", Rejection.NOT_A_NUMBER),
        (r"{10 \choose }", Rejection.NOT_A_NUMBER),
        (r"{10 \choose 3", Rejection.NOT_A_NUMBER),
        (r"{5 \choose 3 \choose 2}", Rejection.NOT_A_NUMBER),
        (r"\log_1e99", Rejection.NOT_A_NUMBER),
        (r"\frac1.5", Rejection.NOT_A_NUMBER),
        (r"\log 100", Rejection.NOT_A_NUMBER),
        (r"\frac{1}", Rejection.NOT_A_NUMBER),
        ("(7", Rejection.NOT_A_NUMBER),
        ("(7]", Rejection.NOT_A_NUMBER),
        ("", Rejection.NOT_A_NUMBER),
        ("2+", Rejection.NOT_A_NUMBER),
        (r"\unknown{7}", Rejection.NOT_A_NUMBER),
        ("(1,2)", Rejection.SEVERAL_VALUES),
    ],
)
def test_refuses_notation_that_is_broken_or_read_in_two_ways(text: str, reason: Rejection) -> None:
    with pytest.raises(Rejected) as refused:
        parse_prefix(tokenise(text))
    assert refused.value.reason is reason


@pytest.mark.parametrize("raw", ["2{3}", "{2}{3}", "2{3+4}", r"2\underline{3}", r"2\text{3}", r"2\textcolor{red}{3}"])
def test_digits_that_look_like_one_number_are_not_multiplied(raw: str) -> None:
    """Bug: `2{3}`, which TeX sets as 23, was read as 6."""
    assert isinstance(normalise(raw), Rejection)


@pytest.mark.parametrize("raw", [r"\log_1e99", r"\frac1e9", r"\binom1.5", r"\frac1,234", r"\log_2e5 7"])
def test_an_argument_without_braces_leaves_a_number_or_is_refused(raw: str) -> None:
    """Bug: `\\log_1e99` was cut into `1` and `e99`, and reading `e99` raised ValueError."""
    assert normalise(raw) is Rejection.NOT_A_NUMBER
