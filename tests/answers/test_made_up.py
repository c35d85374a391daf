"""Answers made up at random: an expression whose value is known, written as models write, is read as that value.

The value is worked out with fractions while the text is written, so nothing of the reader's judges it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kit.answers.extraction import extract
from kit.answers.normalisation import normalise


class Term(NamedTuple):
    """What is written, and what it is worth. is_whole: whether it can stand beside an operator without brackets."""

    text: str
    value: Fraction
    is_whole: bool = True


SPACES = st.sampled_from(["", "", "", " ", r"\,", r"\;", r"\!", r"\:", r"\ ", "~", r"\quad ", r"\thinspace "])
GROUPS = st.sampled_from([("(", ")"), (r"\left(", r"\right)"), ("{(", ")}"), (r"\bigl(", r"\bigr)"), ("[", "]")])


def spaced(text: str, *spaces: str) -> str:
    return spaces[0] + text + spaces[1]


def grouped(term: Term, marks: tuple[str, str]) -> str:
    return term.text if term.is_whole else marks[0] + term.text + marks[1]


numbers = st.integers(0, 60).map(lambda number: Term(str(number), Fraction(number)))
large = st.integers(1000, 99_999)
# Between brackets "1,000" is the pair of 1 and 0, so it stands alone.
thousands = st.tuples(large, st.sampled_from(["", "{,}", r"\,", "~"])).map(
    lambda each: Term(f"{each[0]:,}".replace(",", each[1]), Fraction(each[0]))
)
alone = large.map(lambda number: Term(f"{number:,}", Fraction(number)))


def both(terms: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    """Every way to put terms together."""
    pairs = st.tuples(terms, terms, SPACES, SPACES, GROUPS)
    return st.one_of(
        *(pairs.map(write) for write in (plus, minus, times, over, fraction)),
        st.tuples(st.integers(0, 9), st.integers(0, 5), SPACES, SPACES).map(lambda each: power(*each)),
        st.tuples(st.integers(0, 12), st.integers(0, 12), SPACES, SPACES).map(lambda each: binomial(*each)),
        st.tuples(st.integers(0, 200), SPACES, SPACES).map(lambda each: root(*each)),
        st.integers(0, 8).map(lambda number: Term(f"{number}!", Fraction(math.factorial(number)))),
    )


Pair = tuple[Term, Term, str, str, tuple[str, str]]


def joined(sign: str, pair: Pair, value: Callable[[Fraction, Fraction], Fraction]) -> Term:
    left, right, before, after, marks = pair
    text = f"{grouped(left, marks)}{before}{sign}{after}{grouped(right, marks)}"
    return Term(text, value(left.value, right.value), is_whole=False)


def plus(pair: Pair) -> Term:
    return joined("+", pair, lambda a, b: a + b)


def minus(pair: Pair) -> Term:
    return joined("-", pair, lambda a, b: a - b)


def times(pair: Pair) -> Term:
    return joined(r"\cdot ", pair, lambda a, b: a * b)


def over(pair: Pair) -> Term:
    return plus(pair) if not pair[1].value else joined("/", pair, lambda a, b: a / b)


def fraction(pair: Pair) -> Term:
    above, below, before, after, _ = pair
    if not below.value:
        return times(pair)
    text = rf"\frac{{{spaced(above.text, before, after)}}}{{{spaced(below.text, after, before)}}}"
    return Term(text, above.value / below.value)


def power(base: int, exponent: int, before: str, after: str) -> Term:
    return Term(f"{base}^{{{spaced(str(exponent), before, after)}}}", Fraction(base) ** exponent)


def binomial(above: int, below: int, before: str, after: str) -> Term:
    return Term(rf"\binom{{{before}{above}{after}}}{{{after}{below}}}", Fraction(math.comb(above, below)))


def root(number: int, before: str, after: str) -> Term:
    return Term(rf"\sqrt{{{before}{number**2}{after}}}", Fraction(number))


terms = alone | st.recursive(numbers | thousands, both, max_leaves=4)
NAMES = st.sampled_from(["", "", "", "N=", "m+n = ", r"\text{Answer: }"])
ENDS = st.sampled_from(["", "", "", r"\text{ cm}", r"\,\mathrm{cm}", r"\checkmark", ".", r"\text{ ways}", r"^\circ"])
CLOTHES = st.sampled_from(
    [
        "{}",
        "{}",
        "{}",
        r"\mathbf{{{}}}",
        r"\displaystyle {}",
        "${}$",
        r"\left({}\right)",
        r"{{{}}}",
        r"\color{{red}}{{{}}}",
    ]
)
SAYINGS = st.sampled_from(
    [
        r"So \boxed{{{}}}.",
        r"\boxed{{1}} and then $\boxed{{{}}}$",
        r"<think>\boxed{{1}}</think> Hence \fbox{{{}}}",
        "\\[\n\\boxed{{{}}}\n\\]\n\nThat is all.",
        "```python\nprint('\\boxed{{1}}')\n```\n\\boxed{{{}}}",
    ]
)


def read(text: str) -> int | None:
    raw = extract(text)
    answer = normalise(raw.text) if raw else None
    return answer if isinstance(answer, int) else None


def due(value: Fraction) -> int | None:
    return int(value) if value.denominator == 1 and 0 <= value <= 99_999 else None


@settings(max_examples=400, deadline=None)
@given(term=terms, name=NAMES, end=ENDS, clothes=CLOTHES, saying=SAYINGS)
@example(term=Term("5!", Fraction(120)), name="N=", end="", clothes="{}", saying=r"\boxed{{{}}}")
def test_what_a_box_is_worth_is_read_or_it_is_not_read(
    term: Term, name: str, end: str, clothes: str, saying: str
) -> None:
    """Never another number. A unit or a label after a sum may keep it from being read, a wrong value may not come."""
    text = saying.format(clothes.format(name + term.text + (end if term.is_whole else "")))
    assert read(text) in (due(term.value), None), text


@settings(max_examples=400, deadline=None)
@given(term=terms, saying=SAYINGS)
def test_an_expression_alone_in_a_box_is_always_read(term: Term, saying: str) -> None:
    assert read(saying.format(term.text)) == due(term.value), saying.format(term.text)


@settings(max_examples=200, deadline=None)
@given(term=terms, lead=st.sampled_from(["The answer is ", "**Answer:** ", "So the final answer is ", "#### "]))
def test_an_expression_that_is_stated_is_read_or_it_is_not_read(term: Term, lead: str) -> None:
    assert read(f"We count.\n\n{lead}${term.text}$.") in (due(term.value), None), term.text
