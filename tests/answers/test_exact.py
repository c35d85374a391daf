import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.answers.exact import residue, value
from kit.answers.parser import parse_prefix
from kit.answers.rejection import Rejected, Rejection
from kit.answers.tokens import tokenise


def evaluated(text: str) -> Fraction | Rejection:
    try:
        node, rest = parse_prefix(tokenise(text))
        assert not rest
        return value(node)
    except Rejected as verdict:
        return verdict.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"2\cdot3^4", 162),
        (r"2 \times 3^{2} - 1", 17),
        ("2**10", 1024),
        ("2^3^2", 512),
        ("2^-1*4", 2),
        ("-2^2", -4),
        ("--7", 7),
        ("1 - 2 - 3", -4),
        (r"24 \div 4 \div 3", 2),
        ("5!", 120),
        ("(3!)^2", 36),
        ("6/3!", 1),
        (r"\binom{10}{3}", 120),
        (r"\binom52", 10),
        (r"\dbinom{3}{5}", 0),
        (r"\frac12", Fraction(1, 2)),
        (r"\dfrac1{72}", Fraction(1, 72)),
        (r"\frac{1}2", Fraction(1, 2)),
        (r"2\frac{1}{2}", Fraction(5, 2)),
        (r"-2\frac{1}{2}", Fraction(-5, 2)),
        (r"4\frac{6}{3}", 8),
        (r"(2)(3)", 6),
        (r"2(3+4)", 14),
        (r"\left(7\right)", 7),
        (r"\{7\}", 7),
        ("|-5|", 5),
        (r"\lfloor 7/2 \rfloor", 3),
        (r"\lceil 7/2 \rceil", 4),
        (r"\lfloor -7/2 \rfloor", -4),
        (r"\sqrt{144}", 12),
        (r"\sqrt144", 12),
        (r"\sqrt[3]{-8}", -2),
        (r"\sqrt{\frac{9}{4}}", Fraction(3, 2)),
        ("8^{2/3}", 4),
        (r"\log_2 8", 3),
        (r"\log_{10} 1000", 3),
        (r"\log_2 \frac18", -3),
        (r"121818 \bmod 100000", 21818),
        (r"-7 \pmod{5}", 3),
        ("12 (mod 7)", 5),
        (r"336^\circ", 336),
        (r"336^{\circ}", 336),
        ("1,000,000", 10**6),
        ("1 000", 1000),
        ("1_000", 1000),
        ("4.2e1", 42),
        ("1e-2", Fraction(1, 100)),
        (".5", Fraction(1, 2)),
        ("0^0", 1),
        ("(-1)^{10^{10}}", 1),
        (r"\mathbf{7}", 7),
        (r"\text{7}", 7),
        ("3!4!", 144),
        (r"\frac{10!}{8!2!}", 45),
        ("10!/(8! 2!)", 45),
        (r"{10 \choose 3}", 120),
        (r"2{4 \choose 2}{3 \choose 1}", 36),
        (r"{84 \over 2}", 42),
        (r"\log_2 256", 8),
        (r"12 \text{ (mod }7)", 5),
    ],
)
def test_evaluates_rational_expressions_exactly(text: str, expected: int | Fraction) -> None:
    assert evaluated(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\sqrt2\cdot\sqrt8", 4),
        (r"(\sqrt3+1)^2-2\sqrt3", 4),
        (r"\frac{\sqrt{12}}{\sqrt{3}}", 2),
        (r"\frac{6}{\sqrt5-\sqrt2}-2\sqrt5-2\sqrt2", 0),
        (r"\sqrt{7+4\sqrt3}+\sqrt{7-4\sqrt3}", 4),
        (r"\sqrt[3]{2+\sqrt5}+\sqrt[3]{2-\sqrt5}", 1),
        (r"\left|\sqrt2-2\right|+\sqrt2", 2),
        (r"(\sqrt2)^{10}", 32),
        (r"2\log_4 8", 3),
        (r"2^{\log_2 5}", 5),
        (r"\lfloor 10\sqrt2 \rfloor", 14),
        (r"\lceil \sqrt{7+4\sqrt3}+\sqrt{7-4\sqrt3} \rceil", 4),
        (r"\lfloor(2+\sqrt3)^5\rfloor", 723),
        (r"(\sqrt2\sqrt8)!", 24),
    ],
)
def test_proves_integers_that_are_written_with_irrational_parts(text: str, expected: int) -> None:
    assert evaluated(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r"\sqrt2", Rejection.NOT_AN_INTEGER),
        (r"4\sqrt{19}", Rejection.NOT_AN_INTEGER),
        (r"\log_2 10", Rejection.NOT_AN_INTEGER),
        (r"(\sqrt2)!", Rejection.NOT_AN_INTEGER),
        (r"\sqrt2 \bmod 7", Rejection.NOT_AN_INTEGER),
        (r"\sqrt[\sqrt2]{3}", Rejection.NOT_A_NUMBER),
        (r"\sqrt{10^{12}+1}-10^6", Rejection.NOT_AN_INTEGER),
        (r"\sqrt{-4}", Rejection.NOT_A_NUMBER),
        (r"(-2)^{1/2}", Rejection.NOT_A_NUMBER),
        ("1/0", Rejection.NOT_A_NUMBER),
        ("0^{-1}", Rejection.NOT_A_NUMBER),
        (r"5 \bmod 0", Rejection.NOT_A_NUMBER),
        ("(-3)!", Rejection.NOT_A_NUMBER),
        ("2.5!", Rejection.NOT_A_NUMBER),
    ],
)
def test_refuses_what_has_no_agreed_rational_value(text: str, reason: Rejection) -> None:
    assert evaluated(text) is reason


HOSTILE = {
    "a tower": "10^{10^{10}}",
    "a tower of brackets": "9^{9^{9^{9^{9}}}}",
    "a bare tower": "2" + "^2" * 100,
    "a negative tower": r"\frac{1}{2}^{-10^{10}}",
    "factorials of factorials": "(((9!)!)!)!",
    "a large factorial": "100000!",
    "a large binomial": r"\binom{10^9}{10^8}",
    "many large factorials": r"+".join(["1500!"] * 60),
    "products of large factorials": r"\cdot".join(["1500!"] * 60),
    "fractions of large factorials": "+".join(rf"\frac{{1}}{{{n}!}}" for n in range(1400, 1450)),
    "a deep bracket": "(" * 900 + "1" + ")" * 900,
    "deep fractions": r"\frac{1}{" * 200 + "2" + "}" * 200,
    "deep roots": r"\sqrt" * 150 + "2",
    "deep choices": r"{10 \choose " * 150 + "1" + "}" * 150,
    "factorials side by side": "1500!" * 300,
    "deep logarithms": r"\log_2 " * 150 + "8",
    "signs": "-" * 1500 + "1",
    "many terms": "+".join("1" * 900),
    "digits": "9" * 10_000,
    "a large exponent of ten": "1e999",
    "nested floors of surds": r"\lfloor\sqrt2+" * 35 + "1" + r"\rfloor" * 35,
    "a power of a sum of surds": r"(\sqrt2+\sqrt3+\sqrt5+\sqrt7)^{64}",
    "powers of powers of surds": r"((((\sqrt2+\sqrt3)^8)^8)^8)^8",
    "a sum of many surds": "+".join(rf"\sqrt{{{n}}}" for n in range(2, 40)),
    "a product of many sums": "".join(rf"(\sqrt{{{n}}}+\sqrt{{{n + 1}}})" for n in range(2, 20)),
    "a large power of a hidden one": r"(\sqrt2 - \frac{\sqrt8}{2} + 1)^{10^{10}}",
    "a near integer": r"\sqrt{10^{60}+1}-10^{30}",
    "a surd exponent": r"2^{\sqrt2^{\sqrt2^{\sqrt2}}}",
    "roots of high degree": "+".join(rf"\sqrt[{n}]{{2}}" for n in range(2, 12)),
    "a high root of a large number": r"\sqrt[97]{" + "7" * 1900 + "}",
    "a logarithm to a base near one": r"\log_{\frac{10001}{10000}} 3",
    "unproved radicals": r"\sqrt{2+\sqrt{2+\sqrt2}}\cdot\sqrt{2-\sqrt{2+\sqrt2}}-\sqrt{2-\sqrt2}",
}


@pytest.mark.timeout(20)  # unbounded, each of these takes minutes to centuries
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_expressions_end_soon(text: str) -> None:
    outcome = evaluated(text)
    assert isinstance(outcome, Rejection | Fraction)


def test_a_tower_is_reduced_where_it_cannot_be_written_out() -> None:
    tower, _ = parse_prefix(tokenise(r"3 \cdot 7^{10^{10}} - 5 + -2^{3}"))
    assert residue(tower, 99_991) == (3 * pow(7, 10**10, 99_991) - 5 - 8) % 99_991
    with pytest.raises(Rejected, match="too complex"):
        residue(parse_prefix(tokenise("7^{10^{10^{10}}}"))[0], 1000)
    with pytest.raises(Rejected, match="not an integer"):
        residue(parse_prefix(tokenise(r"7^{10^{10}} + 2.5"))[0], 1000)


expressions = st.recursive(
    st.integers(0, 30).map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda parts: f"({''.join(parts)})"),
        st.tuples(inner, inner).map(lambda parts: f"({parts[0]} - {parts[1]})**2"),
        inner.map(lambda part: f"(-{part})"),
    ),
    max_leaves=8,
)


@given(expressions, st.integers(1, 10**6))
def test_agrees_with_python_on_integer_arithmetic(text: str, modulus: int) -> None:
    expected = eval(text)  # our own strategy wrote the text
    assert evaluated(text) == expected
    assert residue(parse_prefix(tokenise(text))[0], modulus) == expected % modulus


FORMS = [
    "({}+{})", "({}-{})", "({})({})", "({})^{{{}}}", "({})!", "|{}|", r"\frac{{{}}}{{{}}}", r"\sqrt{{{}}}",
    r"\sqrt[{}]{{{}}}", r"\lfloor {}\rfloor", r"\log_{{{}}} {{{}}}", r"\binom{{{}}}{{{}}}", r"({} \bmod {})",
]  # fmt: skip
surds = st.recursive(
    st.sampled_from(["0", "1", "2", "3", "8", "2.5", "1500!"]),
    lambda inner: st.builds(lambda form, a, b: form.format(a, b), st.sampled_from(FORMS), inner, inner),
    max_leaves=6,
)


@given(surds)
def test_is_total_on_every_operation_with_irrational_arguments(text: str) -> None:
    """Bug: the factorial of a surd raised KeyError."""
    assert isinstance(evaluated(text), Rejection | Fraction)


@given(st.integers(0, 10**40), st.integers(2, 9))
def test_roots_are_exact(number: int, degree: int) -> None:
    assert evaluated(rf"\sqrt[{degree}]{{{number}^{{{degree}}}}}") == number
    if number > 1:
        assert evaluated(rf"\sqrt[{degree}]{{{number}^{{{degree}}}+1}}") is not Fraction(number)


def test_importing_the_readers_imports_no_sympy() -> None:
    code = (
        "import sys, kit.answers.normalisation as n; n.normalise('2^{10}'); n.normalise('4\\sqrt2');"
        "assert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
